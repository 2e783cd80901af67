#include "tests/simulation/replay_watch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace instep::simulation {

namespace {

/// By which a consumer tells what a replay brings.
constexpr std::string_view kAttribute = "instepreplay";

bool is_chosen(const ReplayWatch::Replay& replay, const ReplayWatch::Past& past) {
    return (replay.key.empty() || replay.key == past.key) &&
           (replay.start != "time" || past.time.time_since_epoch().count() >= replay.start_at);
}

bool has_begun(std::string_view state) { return state == "running" || state == "done"; }

}  // namespace

Turn turn_of(const Event& event) {
    Turn turn{0, event.version.batch};
    const auto mark =
        std::ranges::find(event.extensions, kAttribute, [](const auto& own) { return own.first; });
    if (mark != event.extensions.end()) {
        const std::string& text = mark->second;
        std::from_chars(text.data(), text.data() + text.size(), turn.replay);
    }
    return turn;
}

bool ReplayWatch::Replay::brings(std::uint64_t seq) const {
    return std::ranges::find(events, seq, &Past::seq) != events.end();
}

void ReplayWatch::delivered(const Delivery& delivery) {
    const Event& event = delivery.event;
    if (event.operation == Operation::kUpsert || event.operation == Operation::kDelete) {
        past_[delivery.partition][delivery.position] = {event.key, event.version.batch, event.time};
    }
}

std::vector<std::int64_t> ReplayWatch::look() {
    auto rows = database_.inspect().query(
        "SELECT number, partition, start, start_at, key, state, reached, until "
        "FROM instep_replay WHERE subscription = $1 ORDER BY number",
        std::initializer_list<ValueView>{std::string_view(subscription_)});
    std::vector<std::int64_t> done;
    while (*(*rows)->next()) {
        const std::int64_t number = (*rows)->integer(0);
        Replay& replay = replays_[number];
        const bool had_begun = has_begun(replay.state);
        const bool was_done = replay.state == "done";
        replay.partition = static_cast<std::uint32_t>((*rows)->integer(1));
        replay.start = (*rows)->text(2);
        replay.start_at = (*rows)->integer(3);
        replay.key = (*rows)->text(4);
        replay.state = (*rows)->text(5);
        if (!had_begun && has_begun(replay.state)) {
            begin(number, replay, static_cast<Position>((*rows)->integer(6)),
                  static_cast<Position>((*rows)->integer(7)));
        }
        if (!was_done && replay.state == "done") {
            done.push_back(number);
        }
    }
    return done;
}

const ReplayWatch::PastEvents& ReplayWatch::past_of(std::uint32_t partition) const {
    static const PastEvents kNone;
    const auto found = past_.find(partition);
    return found == past_.end() ? kNone : found->second;
}

void ReplayWatch::begin(std::int64_t number, Replay& replay, Position from, Position until) {
    check_start(number, replay, from, until);
    const PastEvents& past = past_of(replay.partition);
    for (auto next = past.upper_bound(from); next != past.end() && next->first <= until; ++next) {
        if (is_chosen(replay, next->second) && !replay.brings(next->second.seq)) {
            replay.events.push_back(next->second);
        }
    }
}

void ReplayWatch::check_start(std::int64_t number, const Replay& replay, Position from,
                              Position until) const {
    const bool is_position = replay.start == "position";
    const auto asked = is_position ? static_cast<Position>(replay.start_at) : Position{0};
    const PastEvents& past = past_of(replay.partition);
    const auto first = past.upper_bound(asked);
    const bool leaves_out = first != past.end() && first->first <= from && first->first <= until;
    if (from < asked || (leaves_out && (is_position || !is_trimmed_))) {
        findings_.report(
            fmt::format("replay {} of {} was asked for from {} {} and begins behind "
                        "position {}",
                        number, subscription_, replay.start, replay.start_at, from));
    }
    const auto to_reach = to_reach_.find(replay.partition);
    if (to_reach != to_reach_.end() && until < to_reach->second) {
        findings_.report(fmt::format("replay {} of {} ends at position {}, before {}", number,
                                     subscription_, until, to_reach->second));
    }
}

void ReplayWatch::expect_to_reach_all() {
    for (const auto& [partition, past] : past_) {
        to_reach_[partition] = past.rbegin()->first;
    }
}

bool ReplayWatch::are_over() const {
    return std::ranges::none_of(replays_, [](const auto& replay) {
        return replay.second.state == "asked" || replay.second.state == "running";
    });
}

std::optional<ReplayWatch::Place> ReplayWatch::draw_place(Random& random) const {
    if (past_.empty()) {
        return std::nullopt;
    }
    const auto& [partition, past] =
        *std::next(past_.begin(), static_cast<std::ptrdiff_t>(random.below(past_.size())));
    const auto& [position, event] =
        *std::next(past.begin(), static_cast<std::ptrdiff_t>(random.below(past.size())));
    return Place{partition, position, event};
}

}  // namespace instep::simulation
