#include "held.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace instep::rabbitmq {

HolderReport report_of(const Held& held) {
    HolderReport report{.acknowledged = held.position(held.acknowledged),
                        .received = held.position(held.received),
                        .unacknowledged = held.received - held.acknowledged,
                        .oldest = std::nullopt};
    if (!held.pending.empty()) {
        report.oldest = held.pending.front().time;
    }
    return report;
}

std::string to_text(const HolderReport& report) {
    return fmt::format("{} {} {} {}", report.acknowledged, report.received, report.unacknowledged,
                       report.oldest ? report.oldest->time_since_epoch().count() : 0);
}

std::optional<HolderReport> parse_report(std::string_view text) {
    std::array<std::uint64_t, 4> numbers{};
    for (std::uint64_t& number : numbers) {
        const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
        if (read.ec != std::errc{}) {
            return std::nullopt;
        }
        text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
        text.remove_prefix(text.starts_with(' ') ? 1 : 0);
    }
    HolderReport report{.acknowledged = numbers[0],
                        .received = numbers[1],
                        .unacknowledged = numbers[2],
                        .oldest = std::nullopt};
    if (numbers[3] != 0) {
        report.oldest = Timestamp(std::chrono::microseconds(numbers[3]));
    }
    return report;
}

}  // namespace instep::rabbitmq
