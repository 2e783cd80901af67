// How the members of one subscription share a topic's partitions.
//
// A member lives until its time runs out, and what it holds is its own for as long. Every
// member computes the same fair share from the list of living members; one with too much
// gives the surplus up once it is drained, one with too little takes what nobody living
// holds. The epoch rises with every taking, and acknowledgements name it.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/broker/broker.hpp"
#include "instep/db/connection.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace instep::embedded_broker {

/// A partition that this member holds.
struct Held {
    std::int64_t slot = 0;
    std::uint32_t partition = 0;
    std::uint64_t epoch = 0;

    /// As it is stored, and as the member said last.
    Position acknowledged = 0;
    Position done = 0;

    /// The last position delivered, or the one sought.
    Position read = 0;

    /// kLeaving: no more deliveries, so that it becomes drained and can be given up.
    enum class State : std::uint8_t { kServing, kLeaving } state = State::kServing;

    [[nodiscard]] bool is_drained() const { return read <= acknowledged; }
};

/// What identifies a member.
struct MemberIdentity {
    std::int64_t subscription = 0;
    std::string topic;
    std::string name;
    std::chrono::milliseconds timeout{};
};

/// For one thread at a time. Borrows the connection and the clock.
class Membership {
public:
    Membership(Connection& connection, const Clock& clock, MemberIdentity identity)
        : connection_(connection), clock_(clock), identity_(std::move(identity)) {}

    /// Renews this member and takes, gives up and forgets partitions. Writes nothing unless a
    /// third of the member's time is over or the members have changed.
    Result<void> refresh();

    /// True if another member or a new topic calls for a refresh().
    Result<bool> has_news();

    /// True while this member's time has not run out.
    Result<bool> is_alive();

    /// Frees everything at once instead of letting the time run out.
    Result<void> leave();

    [[nodiscard]] std::vector<Held>& held() { return held_; }
    [[nodiscard]] Held* find(std::uint32_t partition);
    void forget(std::uint32_t partition);

private:
    /// What one refresh() changes.
    struct Plan {
        std::vector<Held> held;
        std::vector<Held> given_up;
        std::vector<Held> taken;
    };

    Result<bool> is_due();
    Result<bool> renew(Transaction& transaction, Timestamp now);
    Result<Plan> plan(Transaction& transaction);
    Result<std::size_t> fair_count(Transaction& transaction, std::size_t partitions);
    Result<void> give_up(Transaction& transaction, const std::vector<Held>& partitions);
    Result<void> take(Transaction& transaction, const std::vector<Held>& partitions);

    Connection& connection_;
    const Clock& clock_;
    MemberIdentity identity_;
    std::vector<Held> held_;
    Timestamp alive_until_{};
    std::optional<std::chrono::microseconds> refreshed_;
    std::int64_t generation_ = -1;
};

}  // namespace instep::embedded_broker
