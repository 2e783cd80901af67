#include "tests/simulation/bug_parts.hpp"
#include "tests/simulation/planted_bugs.hpp"

#include <algorithm>

namespace instep::simulation {

namespace {

PlantedBug bug_of(std::string_view name, std::string_view meaning, SqlEdit edit) {
    return {.name = name, .meaning = meaning, .role = Role::kEffects, .edits = {edit}};
}

/// More replays, of more that fails.
void replay_more(Options& options) {
    options.counts_effects = true;
    options.operations_every = std::chrono::milliseconds{300};
    options.handling.replays = true;
    options.handling.attempts_max = 0;
    options.handling.policies.clear();
    options.faults.handler_failure = 0.3;
}

/// Some keys that fail again and again, while many events of others wait.
void retry_more(Options& options) {
    options.counts_effects = true;
    options.keys = 40;
    options.transactions = 40;
    options.statements_max = 6;
    options.consumer_batch_max = 2;
    options.parked_delay = std::chrono::milliseconds{1};
    options.handling = {.pauses = true};
    options.faults.handler_failure = 0.2;
    options.faults.target_down = 0;
}

/// Says that it went back, and goes on.
class OnwardSubscriber final : public PassingSubscriber {
public:
    using PassingSubscriber::PassingSubscriber;

    Result<void> rewind(std::uint32_t /*partition*/, Position /*position*/) override { return {}; }
};

std::vector<PlantedBug> replay_bugs() {
    std::vector<PlantedBug> bugs{
        bug_of("replay_begins_late", "a replay leaves its first event out",
               {.where = "UPDATE instep_replay SET state",
                .part = "reached = $4",
                .replacement = "reached = $4 + 1"}),
        bug_of("replay_ends_early", "a replay ends before where the subscription stood",
               {.where = "UPDATE instep_replay SET state",
                .part = "until = $5",
                .replacement = "until = $4 + ($5 - $4) / 2"}),
        bug_of("replay_key_forgotten", "a replay of one key brings all again",
               {.where = "FROM instep_replay WHERE subscription",
                .part = "start_at, key, reached",
                .replacement = "start_at, '', reached"}),
        bug_of("replay_overtakes_parked", "a replay begins although events are parked",
               {.where = "SELECT key FROM instep_parked_event",
                .part = "WHERE ",
                .replacement = "WHERE 0 AND "}),
        bug_of("replay_mark_lost", "what a replay brings is parked as if it came the first time",
               {.where = "INSERT INTO instep_parked_event",
                .part = "$5, $6",
                .replacement = "replace($5, '\"instepreplay\"', '\"other\"'), $6"}),
    };
    std::ranges::for_each(bugs, [](PlantedBug& bug) { bug.setting = replay_more; });
    bugs.push_back({.name = "replay_goes_on",
                    .meaning = "the broker does not go back, and nobody sees it",
                    .role = Role::kEffects,
                    .subscriber = wrap_subscriber<OnwardSubscriber>()});
    return bugs;
}

}  // namespace

std::vector<PlantedBug> flow_bugs() {
    std::vector<PlantedBug> bugs = replay_bugs();
    bugs.push_back(bug_of(
        "pause_not_heeded", "a paused subscription goes on",
        {.where = "SELECT revision, paused_us", .part = "paused_us", .replacement = "NULL"}));
    bugs.push_back(bug_of("rate_taken_early", "events are tried before those earlier are paid for",
                          {.where = "INSERT INTO instep_subscription",
                           .part = "rate_until_us <= $3",
                           .replacement = "rate_until_us <= $3 + 300000"}));
    bugs.push_back({.name = "rate_of_each_member",
                    .meaning = "members take from the rate as if it were more",
                    .role = Role::kEffects,
                    .consumer = [](ConsumerOptions& options) { options.rate_limit *= 2; }});
    bugs.push_back(bug_of("retries_look_free", "what tries of parked keys take is not counted",
                          {.kind = SqlEdit::Kind::kStopClock, .where = "k.next_try_us <= $2"}));
    bugs.back().setting = retry_more;
    return bugs;
}

}  // namespace instep::simulation
