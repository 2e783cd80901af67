#include "held.hpp"

#include "numbers.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::rabbitmq {

HolderReport report_of(const Held& held) {
    HolderReport report{.acknowledged = held.position(held.acknowledged),
                        .received = held.position(held.received),
                        .unacknowledged = held.received - held.acknowledged,
                        .oldest = std::nullopt};
    if (!held.pending.empty()) {
        report.oldest = held.pending.front().time;
    }
    if (held.past) {
        report.received = held.past->end;
        report.unacknowledged = held.past->end - std::min(report.acknowledged, held.past->end) +
                                (held.is_in(Past::Phase::kWaiting) ? held.received : 0);
    }
    return report;
}

std::string to_text(const HolderReport& report) {
    return fmt::format("{} {} {} {}", report.acknowledged, report.received, report.unacknowledged,
                       report.oldest ? report.oldest->time_since_epoch().count() : 0);
}

std::optional<HolderReport> parse_report(std::string_view text) {
    const auto numbers = parse_numbers<4>(text);
    if (!numbers) {
        return std::nullopt;
    }
    const auto& [acknowledged, received, unacknowledged, oldest] = *numbers;
    HolderReport report{.acknowledged = acknowledged,
                        .received = received,
                        .unacknowledged = unacknowledged,
                        .oldest = std::nullopt};
    if (oldest != 0) {
        report.oldest = Timestamp(std::chrono::microseconds(oldest));
    }
    return report;
}

}  // namespace instep::rabbitmq
