// The rules that a subscription with a handler of one's own must keep, whatever the handler says
// and whatever people decide about what it refuses.
#pragma once

#include "tests/simulation/flow_watch.hpp"
#include "tests/simulation/options.hpp"
#include "tests/simulation/replay_watch.hpp"
#include "tests/simulation/watches.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace instep::simulation {

/// What the handler says while the thing that it needs is down: nothing may be parked for it.
inline constexpr std::string_view kTargetDown = "simulated: the target is down";

/// Payloads that an operator writes hold this and a number.
inline constexpr std::string_view kEditMark = "edit-";

/// The mark of an edited payload; empty for one of the source.
std::string edit_of(const Event& event);

/// A handler whose effects add up. Each event takes effect once, and once more in each replay of
/// it; each key's in order, except what was skipped; what was discarded does not. Nothing that was
/// set aside is lost, attempts are counted and come when they are due, dead letters are left alone,
/// and what did not take effect is counted. Failures of each class follow their own policy.
class EffectsWatch final : public SubscriptionWatch {
public:
    EffectsWatch(SimDatabase& database, std::string subscription, LogHistory& source,
                 const Options& options, Findings& findings)
        : SubscriptionWatch(database, std::move(subscription), findings),
          source_(source),
          options_(options),
          flow_(database, this->subscription(), options.handling.rate_limit, findings),
          replays_(database, this->subscription(), findings) {}

    void delivered(const Delivery& delivery) override { replays_.delivered(delivery); }

    /// True if every committed event of the source has taken effect or was discarded, in all its
    /// turns.
    [[nodiscard]] bool is_complete() const;

    /// True if the event was set aside and waits.
    [[nodiscard]] bool waits(const Event& event) const;

    [[nodiscard]] FlowWatch& flow() { return flow_; }
    [[nodiscard]] ReplayWatch& replays() { return replays_; }

protected:
    void look() override;
    bool is_done(const Event& event) override;

private:
    struct WaitingRow {
        std::string key;
        Turn turn;
        std::string error;
        bool is_skipped = false;
        bool is_discarded = false;
    };
    using WaitingRows = std::map<std::int64_t, WaitingRow>;

    struct KeyRow {
        std::int64_t attempts = 0;
        std::int64_t failed_us = 0;
        std::int64_t next_try_us = 0;
        bool is_dead = false;
        std::string error;
        std::string message;

        friend bool operator==(const KeyRow&, const KeyRow&) = default;
    };
    using KeyRows = std::map<std::string, KeyRow, std::less<>>;

    void take_decisions();
    void take_skips(const WaitingRows& now);
    void check_effects();
    void check_effect(const std::string& key, const Turn& turn, std::string_view edit);
    void check_first_time(const std::string& key, const Turn& turn);
    void check_replayed(const std::string& key, const Turn& turn);
    void check_stop(const std::string& key, const Turn& turn);
    void check_replay(std::int64_t number);
    void check_waiting(const WaitingRows& now);
    void check_keys(const KeyRows& now);
    void check_key(const std::string& key, const KeyRow& row);
    void check_count();
    [[nodiscard]] WaitingRows read_waiting() const;
    [[nodiscard]] KeyRows read_keys() const;
    [[nodiscard]] bool is_settled(const Turn& turn) const;
    [[nodiscard]] bool is_passed(const Turn& turn) const;
    [[nodiscard]] bool stops_all(const KeyRow& row) const;
    void report(std::string_view what, std::string_view key, const Turn& turn) const;

    LogHistory& source_;
    const Options& options_;
    std::int64_t last_effect_ = 0;
    std::int64_t last_action_ = 0;

    FlowWatch flow_;
    ReplayWatch replays_;

    std::set<Turn> taken_;
    std::set<Turn> discarded_;
    std::set<Turn> skipped_;
    std::map<Turn, std::string> edits_;

    WaitingRows waiting_;
    KeyRows keys_;

    /// What the subscription must have counted as not applied.
    std::int64_t not_applied_ = 0;
};

}  // namespace instep::simulation
