#include "tests/simulation/flow_watch.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::simulation {

namespace {

using std::chrono::microseconds;

/// A pause is honoured so soon, by all members, behind the batch that is under way.
constexpr microseconds kHonoured = std::chrono::seconds{1};

}  // namespace

void FlowWatch::look() {
    if (!database_.touched("instep_subscription")) {
        return;
    }
    auto rows = database_.inspect().query(
        "SELECT paused_us, rate_until_us FROM instep_subscription WHERE subscription = $1",
        std::initializer_list<ValueView>{std::string_view(subscription_)});
    if (!*(*rows)->next()) {
        return;
    }
    const microseconds now = database_.scheduler().clock().monotonic();
    if ((*rows)->is_null(0)) {
        paused_.reset();
    } else if (!paused_) {
        paused_ = now;
    }
    const microseconds until =
        microseconds{(*rows)->integer(1)} - VirtualClock::kStart.time_since_epoch();
    if (rate_limit_ > 0 && (*rows)->integer(1) != 0 && until != rate_until_) {
        take_share(until);
    }
}

/// Nobody takes before what was taken earlier is paid for, nor more than a second has room for.
void FlowWatch::take_share(microseconds until) {
    const microseconds now = database_.scheduler().clock().monotonic();
    if (rate_until_ > now || until > now + std::chrono::seconds{1} + an_event()) {
        findings_.report(fmt::format(
            "{} takes from the rate of {} until {} us, at {} us, behind "
            "what was taken until {} us",
            database_.committer(), subscription_, until.count(), now.count(), rate_until_.count()));
    }
    shares_[std::string(database_.committer())] = {now, rate_until_, until, {}};
    rate_until_ = until;
}

void FlowWatch::tried(const Event& event, microseconds step_began) {
    if (paused_ && step_began > *paused_ + kHonoured) {
        findings_.report(fmt::format("{} tries event {} of {} in a step {} us behind a pause",
                                     database_.committer(), event.id, subscription_,
                                     (step_began - *paused_).count()));
    }
    if (rate_limit_ > 0) {
        check_share(event, step_began);
    }
}

void FlowWatch::check_share(const Event& event, microseconds step_began) {
    Share& share = shares_[std::string(database_.committer())];
    share.events.insert(event.id);
    const bool was_taken = share.taken >= step_began;
    const auto events_max =
        static_cast<std::size_t>((share.until - std::max(share.from, step_began)) / an_event() + 1);
    if (!was_taken || share.events.size() > events_max) {
        findings_.report(fmt::format("{} tries {} events of {} and took {} from the rate",
                                     database_.committer(), share.events.size(), subscription_,
                                     was_taken ? events_max : 0));
    }
}

}  // namespace instep::simulation
