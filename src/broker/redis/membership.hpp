// How the members of one subscription share a topic's partitions: scripts/refresh.lua decides,
// this remembers.
#pragma once

#include "connection.hpp"
#include "instep/base/clock.hpp"
#include "instep/broker/broker.hpp"
#include "names.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace instep::redis {

/// A partition that this member holds.
struct Held {
    std::uint32_t partition = 0;
    std::uint64_t epoch = 0;
    Position acknowledged = 0;

    /// The last position delivered, or the one sought.
    Position read = 0;

    /// Entries up to `acknowledged`, which the server needs to tell the lag; nothing if it
    /// does not know either.
    std::optional<std::uint64_t> entries = std::nullopt;

    /// Positions delivered and not acknowledged.
    std::deque<Position> unacknowledged;

    /// kLeaving: no more deliveries, so that it becomes drained and can be given up.
    enum class State : std::uint8_t { kServing, kLeaving } state = State::kServing;

    [[nodiscard]] bool is_drained() const { return read <= acknowledged; }
};

/// What identifies a member.
struct MemberIdentity {
    std::string subscription;
    std::string topic;
    std::string name;
    std::chrono::milliseconds timeout{};
};

/// For one thread at a time. Borrows all but the identity.
class Membership {
public:
    Membership(const Endpoint& endpoint, const Clock& clock, Random& random,
               MemberIdentity identity)
        : endpoint_(endpoint),
          clock_(clock),
          link_(endpoint, clock, random),
          identity_(std::move(identity)),
          keys_(endpoint.prefix, identity_.topic) {}

    /// Renews this member and takes, gives up and forgets partitions, if it is time for that.
    /// Returns true if what is to be read may be another now.
    Result<bool> refresh();

    /// Another member or a new topic calls for a refresh().
    void note_change() { has_news_ = true; }
    [[nodiscard]] bool has_news() const { return has_news_; }

    /// The newest change that refresh() has seen.
    [[nodiscard]] const std::string& change() const { return change_; }

    /// True while this member's time has not run out.
    [[nodiscard]] bool is_alive() const { return clock_.monotonic() < alive_until_; }

    /// Frees everything at once instead of letting the time run out.
    Result<void> leave();

    /// Errors: kFenced, and then the partition is forgotten; kInvalidArgument.
    Result<void> acknowledge(std::uint32_t partition, Position position);
    Result<void> seek(std::uint32_t partition, Position position);
    Result<void> rewind(std::uint32_t partition, Position position);

    [[nodiscard]] std::vector<Held>& held() { return held_; }
    [[nodiscard]] const TopicKeys& keys() const { return keys_; }
    [[nodiscard]] const MemberIdentity& identity() const { return identity_; }

private:
    [[nodiscard]] bool is_due() const;
    [[nodiscard]] Held* find(std::uint32_t partition);
    [[nodiscard]] std::string holder(const Held& held) const;
    Result<void> adopt(const Reply& reply);
    std::unexpected<Error> not_held(std::uint32_t partition);

    const Endpoint& endpoint_;
    const Clock& clock_;
    Link link_;
    MemberIdentity identity_;
    TopicKeys keys_;
    std::vector<Held> held_;
    std::string change_ = "0-0";
    bool has_news_ = true;
    std::optional<std::chrono::microseconds> refreshed_;
    std::chrono::microseconds alive_until_{0};
};

}  // namespace instep::redis
