#include "tests/simulation/planted_bugs.hpp"

#include <algorithm>
#include <iterator>

namespace instep::simulation {

namespace {

using Kind = SqlEdit::Kind;

PlantedBug bug_of(std::string_view name, std::string_view meaning, SqlEdit edit) {
    return {.name = name, .meaning = meaning, .role = Role::kEffects, .edits = {edit}};
}

PlantedBug bug_of(std::string_view name, std::string_view meaning,
                  std::function<void(ConsumerOptions&)> consumer) {
    return {
        .name = name, .meaning = meaning, .role = Role::kEffects, .consumer = std::move(consumer)};
}

/// Blames the event for what is the target's fault.
class BlamingHandler final : public Handler {
public:
    explicit BlamingHandler(Handler& inner) : inner_(inner) {}

    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override {
        auto applied = inner_.apply(transaction, events);
        if (!applied && applied.error().code == ErrorCode::kUnavailable) {
            return fail(ErrorCode::kRejected, applied.error().message);
        }
        return applied;
    }

private:
    Handler& inner_;
};

/// Classes of errors with policies of their own, and more that fails.
void fail_in_classes(Options& options) {
    options.counts_effects = true;
    options.partitions = 1;
    options.handling.on_failure = OnFailure::kBlockKey;
    options.handling.policies[ErrorCode::kConflict] = {.attempts_max = 2,
                                                       .on_failure = OnFailure::kStopFlow};
    options.faults.handler_failure = 0.3;
}

/// What is done about failures of a class is not what was asked for.
std::vector<PlantedBug> class_bugs() {
    std::vector<PlantedBug> bugs{
        bug_of("class_stops_nothing", "other keys go on where errors of a class should stop all",
               [](ConsumerOptions& options) {
                   for (auto& [error, policy] : options.policies) {
                       if (policy.on_failure == OnFailure::kStopFlow) {
                           policy.on_failure = OnFailure::kBlockKey;
                       }
                   }
               }),
        bug_of("classes_not_told_apart", "the policies of classes of errors are not heeded",
               [](ConsumerOptions& options) { options.policies.clear(); }),
    };
    std::ranges::for_each(bugs, [](PlantedBug& bug) { bug.setting = fail_in_classes; });
    return bugs;
}

/// The same of all that have no policy of their own.
std::vector<PlantedBug> policy_bugs() {
    return {
        bug_of("stop_flow_goes_on", "other keys go on where all should stop",
               [](ConsumerOptions& options) {
                   if (options.on_failure == OnFailure::kStopFlow) {
                       options.on_failure = OnFailure::kBlockKey;
                   }
               }),
        bug_of("skips_unasked", "an event that fails too often is left out, its key goes on",
               [](ConsumerOptions& options) { options.on_failure = OnFailure::kSkip; }),
    };
}

std::vector<PlantedBug> parked_key_bugs() {
    return {
        bug_of("redrive_newest_first", "of what waits for a key, the newest is tried first",
               {.where = "SELECT k.key, k.attempts, e.number",
                .part = "ORDER BY e.number",
                .replacement = "ORDER BY e.number DESC"}),
        bug_of("key_freed_too_early", "a key is free although events wait for it",
               {.where = "DELETE FROM instep_parked_key",
                .part = "AND NOT EXISTS",
                .replacement = "OR EXISTS"}),
        bug_of("attempts_forgotten", "a failure counts as the first",
               {.where = "INSERT INTO instep_parked_key",
                .part = "attempts = excluded.attempts",
                .replacement = "attempts = 1"}),
        bug_of("dead_letter_tried", "a dead letter is tried again without anybody's word",
               {.where = "FROM instep_parked_key k",
                .part = "AND k.dead_us IS NULL",
                .replacement = ""}),
        bug_of("skipped_event_lost", "what is skipped is not kept",
               {.where = "SET skipped_us = $3",
                .part = "UPDATE instep_parked_event SET skipped_us = $3, attempts = $4, "
                        "error_code = $5, error_message = $6 WHERE ",
                .replacement = "DELETE FROM instep_parked_event WHERE $3 || $4 || $5 || $6 <> '' "
                               "AND "}),
        bug_of("discards_not_counted", "what is given up is not counted",
               {.where = "INSERT INTO instep_progress",
                .part = "+ excluded.discarded",
                .replacement = ""}),
        bug_of("circuit_stays_closed", "a target that is down is called on and on",
               [](ConsumerOptions& options) { options.circuit.reset(); }),
        bug_of("tried_before_its_time", "parked keys are tried without their delay",
               {.where = "FROM instep_parked_key k",
                .part = "k.next_try_us <= $2",
                .replacement = "$2 > 0"}),
    };
}

}  // namespace

std::vector<PlantedBug> handler_bugs() {
    std::vector<PlantedBug> bugs = parked_key_bugs();
    std::ranges::move(policy_bugs(), std::back_inserter(bugs));
    std::ranges::move(class_bugs(), std::back_inserter(bugs));
    bugs.push_back({.name = "target_down_parks",
                    .meaning = "keys are parked for a target that is down",
                    .role = Role::kEffects,
                    .handler = [](Handler& inner) -> std::unique_ptr<Handler> {
                        return std::make_unique<BlamingHandler>(inner);
                    }});
    bugs.push_back({.name = "edit_lost",
                    .meaning = "an edited event is tried as it was",
                    .role = Role::kOperator,
                    .edits = {{.where = "SET envelope = $2",
                               .part = "SET envelope = $2",
                               .replacement = "SET envelope = coalesce(envelope, $2)"}}});
    bugs.push_back({.name = "discard_is_forgotten",
                    .meaning = "a discarded event takes effect when it is delivered again",
                    .role = Role::kOperator,
                    .edits = {{.kind = Kind::kSkip, .where = "INSERT INTO instep_inbox"}}});
    return bugs;
}

}  // namespace instep::simulation
