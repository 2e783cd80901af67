#include "sending.hpp"

#include "link.hpp"
#include "numbers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace instep::rabbitmq {

namespace {

/// As many publishers take turns in a topic. Of one more the first message
/// after a while is taken for its first.
constexpr std::size_t kRunsMax = 64;

std::optional<Sending> parse_sending(std::string_view text) {
    const auto numbers = parse_numbers<3>(text);
    if (!numbers) {
        return std::nullopt;
    }
    const auto& [run, number, confirmed] = *numbers;
    return confirmed < number ? std::optional(Sending{run, number, confirmed}) : std::nullopt;
}

}  // namespace

std::string to_text(const Sending& sending) {
    return fmt::format("{} {} {}", sending.run, sending.number, sending.confirmed);
}

std::optional<Sending> sending_of(const amqp_basic_properties_t& properties) {
    if ((properties._flags & AMQP_BASIC_HEADERS_FLAG) == 0) {
        return std::nullopt;
    }
    for (int i = 0; i < properties.headers.num_entries; ++i) {
        const amqp_table_entry_t& entry = properties.headers.entries[i];
        if (text_of(entry.key) == kSendingHeader && entry.value.kind == AMQP_FIELD_KIND_UTF8) {
            return parse_sending(text_of(entry.value.value.bytes));
        }
    }
    return std::nullopt;
}

std::uint64_t Arrivals::take(const Sending& sending) {
    const auto found = std::ranges::find(runs_, sending.run, &Run::id);
    if (found == runs_.end()) {
        runs_.push_front({.id = sending.run, .last = sending.number});
        if (runs_.size() > kRunsMax) {
            runs_.pop_back();
        }
        return 0;
    }
    std::rotate(runs_.begin(), found, std::next(found));
    Run& run = runs_.front();
    if (sending.number <= run.last) {
        return 0;
    }
    std::uint64_t missed = 0;
    if (sending.confirmed >= run.last) {
        missed = std::exchange(run.absent, 0) + sending.confirmed - run.last;
        run.last = sending.confirmed;
    }
    run.absent += sending.number - run.last - 1;
    run.last = sending.number;
    return missed;
}

}  // namespace instep::rabbitmq
