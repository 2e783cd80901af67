#include "tests/simulation/effects_watch.hpp"

#include "instep/event/cloudevents.hpp"
#include "tests/simulation/owner.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::simulation {

namespace {

std::uint64_t seq_of(std::string_view envelope) {
    const auto event = from_json(envelope);
    return event ? event->version.batch : 0;
}

}  // namespace

std::string edit_of(const Event& event) {
    const std::size_t begin = event.data.find(kEditMark);
    return begin == std::string::npos
               ? ""
               : event.data.substr(begin, event.data.find('"', begin) - begin);
}

void EffectsWatch::look() {
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
        const std::uint64_t seq = seq_of((*rows)->text(3));
        if (taken_.contains(seq)) {
            continue;
        }
        if ((*rows)->text(1) == "discard") {
            discarded_.insert(seq);
        } else {
            edits_[seq] = (*rows)->text(2);
        }
    }
}

EffectsWatch::WaitingRows EffectsWatch::read_waiting() const {
    auto rows = database().inspect().query(
        "SELECT number, key, envelope, skipped_us, discarded_us FROM instep_parked_event "
        "WHERE subscription = $1",
        std::initializer_list<ValueView>{std::string_view(subscription())});
    WaitingRows waiting;
    while (*(*rows)->next()) {
        waiting[(*rows)->integer(0)] = {std::string((*rows)->text(1)), seq_of((*rows)->text(2)),
                                        !(*rows)->is_null(3), !(*rows)->is_null(4)};
    }
    return waiting;
}

void EffectsWatch::take_skips(const WaitingRows& now) {
    for (const auto& [number, row] : now) {
        const auto before = waiting_.find(number);
        if (!row.is_skipped || (before != waiting_.end() && before->second.is_skipped)) {
            continue;
        }
        if (options_.handling.on_failure != OnFailure::kSkip) {
            report("was skipped", row.key, row.seq);
        }
        skipped_.insert(row.seq);
        ++not_applied_;
    }
}

void EffectsWatch::check_effects() {
    auto rows = database().inspect().query(
        "SELECT n, key, seq, edit, wanted FROM effects WHERE n > $1 ORDER BY n",
        std::initializer_list<ValueView>{last_effect_});
    while (*(*rows)->next()) {
        last_effect_ = (*rows)->integer(0);
        const auto seq = static_cast<std::uint64_t>((*rows)->integer(2));
        check_effect(std::string((*rows)->text(1)), seq, (*rows)->text(3));
        taken_.insert(seq);
        not_applied_ += (*rows)->integer(4) == 0 ? 1 : 0;
    }
}

void EffectsWatch::check_effect(const std::string& key, std::uint64_t seq, std::string_view edit) {
    if (taken_.contains(seq)) {
        report("took effect again", key, seq);
    }
    if (discarded_.contains(seq)) {
        report("took effect although it was discarded", key, seq);
    }
    const auto of_key = source_.keys(kTopic).find(key);
    if (of_key == source_.keys(kTopic).end() || !std::ranges::binary_search(of_key->second, seq)) {
        report("took effect and is not in the source's log", key, seq);
        return;
    }
    for (const std::uint64_t earlier : of_key->second) {
        if (earlier < seq && !is_settled(earlier) && !skipped_.contains(earlier)) {
            report(fmt::format("took effect before event {}", earlier), key, seq);
        }
    }
    const auto edited = edits_.find(seq);
    const std::string_view expected =
        edited == edits_.end() ? std::string_view{} : std::string_view(edited->second);
    // One that was skipped may come again from the broker, as it was.
    if (edit != expected && !skipped_.contains(seq)) {
        report(fmt::format("took effect as \"{}\", not as \"{}\"", edit, expected), key, seq);
    }
    const bool stops =
        options_.handling.on_failure == OnFailure::kStopFlow && options_.partitions == 1;
    if (stops && !keys_.empty() && !keys_.contains(key)) {
        report(fmt::format("passed key {}, at which all stops", keys_.begin()->first), key, seq);
    }
}

void EffectsWatch::check_waiting(const WaitingRows& now) {
    for (const auto& [number, row] : waiting_) {
        if (now.contains(number)) {
            continue;
        }
        if (row.is_discarded) {
            ++not_applied_;
        } else if (!is_settled(row.seq)) {
            report("was set aside and is gone", row.key, row.seq);
        }
    }
}

EffectsWatch::KeyRows EffectsWatch::read_keys() const {
    auto rows = database().inspect().query(
        "SELECT key, attempts, failed_us, dead_us, error_message FROM instep_parked_key "
        "WHERE subscription = $1",
        std::initializer_list<ValueView>{std::string_view(subscription())});
    KeyRows keys;
    while (*(*rows)->next()) {
        keys[std::string((*rows)->text(0))] = {(*rows)->integer(1), (*rows)->integer(2),
                                               !(*rows)->is_null(3), std::string((*rows)->text(4))};
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
    if (before != keys_.end() && row.failed_us > known.failed_us &&
        row.attempts != known.attempts + 1) {
        findings().report(fmt::format("key {} failed for the {}. time and counts {} attempts", key,
                                      known.attempts + 1, row.attempts));
    }
    const std::int64_t attempts_max = options_.handling.attempts_max;
    if (row.is_dead != (attempts_max > 0 && row.attempts >= attempts_max)) {
        findings().report(fmt::format("key {} is {} after {} of {} attempts", key,
                                      row.is_dead ? "a dead letter" : "tried on", row.attempts,
                                      attempts_max));
    }
    if (row.error.find(kTargetDown) != std::string::npos) {
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

bool EffectsWatch::is_settled(std::uint64_t seq) const {
    return taken_.contains(seq) || discarded_.contains(seq);
}

void EffectsWatch::report(std::string_view what, std::string_view key, std::uint64_t seq) const {
    findings().report(fmt::format("event {} of key {} {} in {}", seq, key, what, subscription()));
}

bool EffectsWatch::is_complete() const {
    return std::ranges::all_of(source_.keys(kTopic), [this](const auto& key) {
        return std::ranges::all_of(key.second,
                                   [this](std::uint64_t seq) { return is_settled(seq); });
    });
}

bool EffectsWatch::is_done(const Event& event) {
    const bool row = event.operation == Operation::kUpsert || event.operation == Operation::kDelete;
    return !row || is_settled(event.version.batch) || skipped_.contains(event.version.batch);
}

}  // namespace instep::simulation
