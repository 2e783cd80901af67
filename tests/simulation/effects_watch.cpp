#include "tests/simulation/effects_watch.hpp"

#include "instep/event/cloudevents.hpp"
#include "tests/simulation/owner.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::simulation {

namespace {

Turn turn_in(std::string_view envelope) {
    const auto event = from_json(envelope);
    return event ? turn_of(*event) : Turn{};
}

}  // namespace

std::string edit_of(const Event& event) {
    const std::size_t begin = event.data.find(kEditMark);
    return begin == std::string::npos
               ? ""
               : event.data.substr(begin, event.data.find('"', begin) - begin);
}

void EffectsWatch::look() {
    flow_.look();
    const auto replayed =
        database().touched("instep_replay") ? replays_.look() : std::vector<std::int64_t>{};
    if (database().touched("instep_dead_letter_action")) {
        take_decisions();
    }
    const bool moved = database().touched("instep_parked_event");
    const WaitingRows waiting = moved ? read_waiting() : WaitingRows{};
    if (moved) {
        take_skips(waiting);
    }
    if (database().touched("effects")) {
        check_effects();
    }
    if (moved) {
        check_waiting(waiting);
        waiting_ = waiting;
    }
    if (database().touched("instep_parked_key")) {
        KeyRows keys = read_keys();
        check_keys(keys);
        keys_ = std::move(keys);
    }
    if (database().touched("instep_progress")) {
        check_count();
    }
    std::ranges::for_each(replayed, [this](std::int64_t number) { check_replay(number); });
}

/// The reason of an edit is its mark.
void EffectsWatch::take_decisions() {
    auto rows = database().inspect().query(
        "SELECT number, action, reason, envelope FROM instep_dead_letter_action "
        "WHERE number > $1 AND subscription = $2 ORDER BY number",
        std::initializer_list<ValueView>{last_action_, std::string_view(subscription())});
    while (*(*rows)->next()) {
        last_action_ = (*rows)->integer(0);
        if ((*rows)->text(1) == "retry") {
            continue;
        }
        const Turn turn = turn_in((*rows)->text(3));
        if (taken_.contains(turn)) {
            continue;
        }
        if ((*rows)->text(1) == "discard") {
            discarded_.insert(turn);
        } else {
            edits_[turn] = (*rows)->text(2);
        }
    }
}

EffectsWatch::WaitingRows EffectsWatch::read_waiting() const {
    auto rows = database().inspect().query(
        "SELECT number, key, envelope, error_code, skipped_us, discarded_us "
        "FROM instep_parked_event WHERE subscription = $1",
        std::initializer_list<ValueView>{std::string_view(subscription())});
    WaitingRows waiting;
    while (*(*rows)->next()) {
        waiting[(*rows)->integer(0)] = {std::string((*rows)->text(1)), turn_in((*rows)->text(2)),
                                        std::string((*rows)->text(3)), !(*rows)->is_null(4),
                                        !(*rows)->is_null(5)};
    }
    return waiting;
}

void EffectsWatch::take_skips(const WaitingRows& now) {
    for (const auto& [number, row] : now) {
        const auto before = waiting_.find(number);
        if (!row.is_skipped || (before != waiting_.end() && before->second.is_skipped)) {
            continue;
        }
        if (options_.handling.policy_of(row.error).on_failure != OnFailure::kSkip) {
            report(fmt::format("was skipped for an error of class {}", row.error), row.key,
                   row.turn);
        }
        skipped_.insert(row.turn);
        ++not_applied_;
    }
}

void EffectsWatch::check_effects() {
    auto rows = database().inspect().query(
        "SELECT n, key, seq, replay, edit, wanted FROM effects WHERE n > $1 ORDER BY n",
        std::initializer_list<ValueView>{last_effect_});
    while (*(*rows)->next()) {
        last_effect_ = (*rows)->integer(0);
        const Turn turn{(*rows)->integer(3), static_cast<std::uint64_t>((*rows)->integer(2))};
        check_effect(std::string((*rows)->text(1)), turn, (*rows)->text(4));
        taken_.insert(turn);
        not_applied_ += (*rows)->integer(5) == 0 ? 1 : 0;
    }
}

void EffectsWatch::check_effect(const std::string& key, const Turn& turn, std::string_view edit) {
    if (taken_.contains(turn)) {
        report("took effect again", key, turn);
    }
    if (discarded_.contains(turn)) {
        report("took effect although it was discarded", key, turn);
    }
    if (turn.replay == 0) {
        check_first_time(key, turn);
    } else {
        check_replayed(key, turn);
    }
    const auto edited = edits_.find(turn);
    const std::string_view expected =
        edited == edits_.end() ? std::string_view{} : std::string_view(edited->second);
    // One that was skipped may come again from the broker, as it was.
    if (edit != expected && !skipped_.contains(turn)) {
        report(fmt::format("took effect as \"{}\", not as \"{}\"", edit, expected), key, turn);
    }
    check_stop(key, turn);
}

/// Behind all of its key that came earlier, and all that a replay brings again.
void EffectsWatch::check_first_time(const std::string& key, const Turn& turn) {
    const auto of_key = source_.keys(kTopic).find(key);
    if (of_key == source_.keys(kTopic).end() ||
        !std::ranges::binary_search(of_key->second, turn.seq)) {
        report("took effect and is not in the source's log", key, turn);
        return;
    }
    for (const std::uint64_t earlier : of_key->second) {
        if (earlier < turn.seq && !is_passed({0, earlier})) {
            report(fmt::format("took effect before event {}", earlier), key, turn);
        }
    }
    for (const auto& [number, replay] : replays_.all()) {
        for (const ReplayWatch::Past& past : replay.events) {
            if (replay.state != "refused" && past.key == key && !is_passed({number, past.seq})) {
                report(
                    fmt::format("took effect before replay {} brings event {}", number, past.seq),
                    key, turn);
            }
        }
    }
}

void EffectsWatch::check_replayed(const std::string& key, const Turn& turn) {
    const auto replay = replays_.all().find(turn.replay);
    if (replay == replays_.all().end() || !replay->second.brings(turn.seq)) {
        report("took effect and is no part of the replay", key, turn);
        return;
    }
    for (const ReplayWatch::Past& past : replay->second.events) {
        if (past.seq == turn.seq) {
            return;
        }
        if (past.key == key && !is_passed({turn.replay, past.seq})) {
            report(fmt::format("took effect before event {}", past.seq), key, turn);
        }
    }
}

/// What was parked before may be tried while all else stops.
void EffectsWatch::check_stop(const std::string& key, const Turn& turn) {
    if ((options_.partitions > 1 && !options_.handling.reads_log) || keys_.contains(key)) {
        return;
    }
    for (const auto& [other, row] : keys_) {
        if (stops_all(row)) {
            report(fmt::format("passed key {}, at which all stops", other), key, turn);
        }
    }
}

/// Nothing of a replay that is over is missing.
void EffectsWatch::check_replay(std::int64_t number) {
    for (const ReplayWatch::Past& past : replays_.all().at(number).events) {
        const Turn turn{number, past.seq};
        const bool waits = std::ranges::any_of(
            waiting_, [&](const auto& waiting) { return waiting.second.turn == turn; });
        if (!waits && !is_passed(turn)) {
            report("was not brought by its replay, which is over", past.key, turn);
        }
    }
}

void EffectsWatch::check_waiting(const WaitingRows& now) {
    for (const auto& [number, row] : waiting_) {
        if (now.contains(number)) {
            continue;
        }
        if (row.is_discarded) {
            ++not_applied_;
        } else if (!is_settled(row.turn)) {
            report("was set aside and is gone", row.key, row.turn);
        }
    }
}

EffectsWatch::KeyRows EffectsWatch::read_keys() const {
    auto rows = database().inspect().query(
        "SELECT key, attempts, failed_us, next_try_us, dead_us, error_code, error_message "
        "FROM instep_parked_key WHERE subscription = $1",
        std::initializer_list<ValueView>{std::string_view(subscription())});
    KeyRows keys;
    while (*(*rows)->next()) {
        keys[std::string((*rows)->text(0))] = {
            (*rows)->integer(1),  (*rows)->integer(2),           (*rows)->integer(3),
            !(*rows)->is_null(4), std::string((*rows)->text(5)), std::string((*rows)->text(6))};
    }
    return keys;
}

void EffectsWatch::check_keys(const KeyRows& now) {
    const bool by_person =
        database().committer() == "operator" || database().committer() == "course";
    for (const auto& [key, row] : keys_) {
        const auto next = now.find(key);
        if (row.is_dead && !by_person && (next == now.end() || !(next->second == row))) {
            findings().report(fmt::format("dead letter {} was tried", key));
        }
    }
    for (const auto& [key, row] : now) {
        check_key(key, row);
    }
}

void EffectsWatch::check_key(const std::string& key, const KeyRow& row) {
    const auto before = keys_.find(key);
    const KeyRow known = before == keys_.end() ? KeyRow{} : before->second;
    const bool failed_again = before != keys_.end() && row.failed_us > known.failed_us;
    if (failed_again && row.attempts != known.attempts + 1) {
        findings().report(fmt::format("key {} failed for the {}. time and counts {} attempts", key,
                                      known.attempts + 1, row.attempts));
    }
    if (failed_again && row.failed_us < known.next_try_us) {
        findings().report(fmt::format("key {} was tried {} us before its time", key,
                                      known.next_try_us - row.failed_us));
    }
    const std::int64_t attempts_max = options_.handling.policy_of(row.error).attempts_max;
    if (row.is_dead != (attempts_max > 0 && row.attempts >= attempts_max)) {
        findings().report(fmt::format("key {} is {} after {} of {} attempts", key,
                                      row.is_dead ? "a dead letter" : "tried on", row.attempts,
                                      attempts_max));
    }
    if (row.message.find(kTargetDown) != std::string::npos) {
        findings().report(fmt::format("key {} was parked for a target that was down", key));
    }
}

void EffectsWatch::check_count() {
    auto rows = database().inspect().query(
        "SELECT coalesce(sum(discarded), 0) FROM instep_progress WHERE subscription = $1",
        std::initializer_list<ValueView>{std::string_view(subscription())});
    if (*(*rows)->next() && (*rows)->integer(0) != not_applied_) {
        findings().report(fmt::format("{} counts {} events as discarded, not {}", subscription(),
                                      (*rows)->integer(0), not_applied_));
    }
}

bool EffectsWatch::is_settled(const Turn& turn) const {
    return taken_.contains(turn) || discarded_.contains(turn);
}

/// What is behind it may take effect.
bool EffectsWatch::is_passed(const Turn& turn) const {
    return is_settled(turn) || skipped_.contains(turn);
}

bool EffectsWatch::stops_all(const KeyRow& row) const {
    return options_.handling.policy_of(row.error).on_failure == OnFailure::kStopFlow;
}

void EffectsWatch::report(std::string_view what, std::string_view key, const Turn& turn) const {
    findings().report(fmt::format("event {} of key {}{} {} in {}", turn.seq, key,
                                  turn.replay == 0 ? "" : fmt::format(", replay {},", turn.replay),
                                  what, subscription()));
}

bool EffectsWatch::is_complete() const {
    const auto is_known_settled = [this](const auto& key) {
        return std::ranges::all_of(key.second,
                                   [this](std::uint64_t seq) { return is_settled({0, seq}); });
    };
    const auto is_replayed = [this](const auto& replay) {
        return replay.second.state == "refused" ||
               std::ranges::all_of(replay.second.events, [&](const ReplayWatch::Past& past) {
                   return is_settled({replay.first, past.seq});
               });
    };
    return std::ranges::all_of(source_.keys(kTopic), is_known_settled) && replays_.are_over() &&
           std::ranges::all_of(replays_.all(), is_replayed);
}

bool EffectsWatch::waits(const Event& event) const {
    const Turn turn = turn_of(event);
    return std::ranges::any_of(waiting_, [&](const auto& row) {
        return row.second.turn == turn && !row.second.is_skipped;
    });
}

bool EffectsWatch::is_done(const Event& event) {
    const bool row = event.operation == Operation::kUpsert || event.operation == Operation::kDelete;
    return !row || is_passed({0, event.version.batch});
}

}  // namespace instep::simulation
