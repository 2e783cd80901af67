#include "instep/broker/checks.hpp"

#include <fmt/format.h>

namespace instep {

Result<void> check(const SubscribeOptions& options) {
    using namespace std::chrono_literals;
    if (options.subscription.empty() || options.topic.empty() || options.member.empty()) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("subscription \"{}\" to topic \"{}\" as \"{}\": all three need a "
                                "name",
                                options.subscription, options.topic, options.member));
    }
    if (options.member_timeout < 1s || options.member_timeout > 300s) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("subscription {}: a member time-out of {} ms is not between 1 s "
                                "and 300 s",
                                options.subscription, options.member_timeout.count()));
    }
    return {};
}

Result<void> check_rewind(const Standing& standing, Position position) {
    if (position > standing.acknowledged || standing.delivered > standing.acknowledged) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("partition {} cannot go back to position {}: it is acknowledged up "
                        "to {} and delivered up to {}",
                        standing.partition, position, standing.acknowledged, standing.delivered));
    }
    return {};
}

std::optional<Error> refusal_of(const Event& event) {
    auto valid = validate(event);
    if (valid) {
        return std::nullopt;
    }
    Error refused = std::move(valid).error();
    if (refused.code != ErrorCode::kLimitExceeded) {
        refused.code = ErrorCode::kRejected;
    }
    return refused;
}

PublishOutcome check(std::span<const Event> events) {
    PublishOutcome outcome;
    for (const Event& event : events) {
        outcome.failure = refusal_of(event);
        if (outcome.failure) {
            break;
        }
        ++outcome.durable;
    }
    return outcome;
}

}  // namespace instep
