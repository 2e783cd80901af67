// Streams with consumer groups. A group knows what it has given out to which member and not got
// acknowledged: its pending entries. A new holder of a partition gets those first, oldest first.
// What a client has fetched ahead it may still give out when it holds the partition no more.
#include "tests/simulation/sim_broker.hpp"

#include <algorithm>

namespace instep::simulation {

namespace {

constexpr std::size_t kTrimmedLength = 8;

class RedisSlot final : public Slot {
public:
    RedisSlot(const SimBroker& broker, PartitionLog& log, Position start)
        : Slot(log, broker.chaos()), broker_(broker), group_{start, {}}, on_disk_{start, {}} {}

    void fetch(Held& held, std::size_t count) override {
        if (broker_.has(BrokerBug::kNewBeforePending)) {
            count -= fetch_new(held, count);
            count -= count > 0 ? claim(held, count) : 0;
            return;
        }
        count -= fetch_pending(held, count);
        fetch_new(held, count);
    }

    void stored(const Message& /*message*/) override {
        if (broker_.has(BrokerBug::kTrimsByLength) && log().messages.size() > kTrimmedLength) {
            log().messages.erase(log().messages.begin());
        }
    }

    void acknowledge(Held& held, Position position) override {
        std::erase_if(group_.pending, [&](const auto& entry) {
            return entry.first <= position && entry.second == held.session;
        });
        if (random().below(4) == 0) {
            on_disk_ = group_;
        }
    }

    void seek(Held& held, Position position) override { held.fetched = position; }

    void rewind(Position position) override {
        group_ = {position, {}};
        if (random().below(4) == 0) {
            on_disk_ = group_;
        }
    }

    [[nodiscard]] Position acknowledged() const override { return acknowledged(group_); }
    [[nodiscard]] Position done() const override {
        return std::min(acknowledged(group_), acknowledged(on_disk_));
    }
    [[nodiscard]] std::uint64_t backlog() const override {
        return group_.pending.size() +
               static_cast<std::uint64_t>(log().messages.end() - behind(group_.delivered));
    }

protected:
    void begin(Held& held) override {
        held.acknowledged = acknowledged(group_);
        const bool waits = broker_.has(BrokerBug::kNewBeforePending);
        if (waits || broker_.has(BrokerBug::kPendingNotClaimed)) {
            return;
        }
        for (auto& [position, session] : group_.pending) {
            session = held.session;
        }
    }
    void forget_unsafe() override { group_ = on_disk_; }

private:
    /// What the server keeps of a consumer group.
    struct Group {
        Position delivered = 0;

        /// With the session that each entry was given to.
        std::map<Position, std::uint64_t> pending;
    };

    [[nodiscard]] static Position acknowledged(const Group& group) {
        return group.pending.empty() ? group.delivered : group.pending.begin()->first - 1;
    }

    [[nodiscard]] std::vector<Message>::const_iterator behind(Position position) const {
        return std::ranges::upper_bound(std::as_const(log().messages), position, {},
                                        &Message::position);
    }

    void give(Held& held, const Message& message) {
        held.fetched = message.position;
        held.ahead.push_back({message.position, message.event});
    }

    /// Entries that were deleted meanwhile are passed over, as the server does.
    std::size_t fetch_pending(Held& held, std::size_t count) {
        std::size_t fetched = 0;
        for (auto entry = group_.pending.upper_bound(held.fetched);
             entry != group_.pending.end() && fetched < count; ++entry) {
            const auto message = behind(entry->first - 1);
            if (entry->second == held.session && message != log().messages.end() &&
                message->position == entry->first) {
                give(held, *message);
                ++fetched;
            }
        }
        return fetched;
    }

    std::size_t fetch_new(Held& held, std::size_t count) {
        std::size_t fetched = 0;
        for (auto next = behind(group_.delivered);
             next != log().messages.end() && next->visible <= now() && fetched < count; ++next) {
            give(held, *next);
            group_.delivered = next->position;
            if (!broker_.has(BrokerBug::kAcknowledgesOnReceive)) {
                group_.pending[next->position] = held.session;
            }
            ++fetched;
        }
        return fetched;
    }

    std::size_t claim(Held& held, std::size_t count) {
        std::size_t claimed = 0;
        for (auto& [position, session] : group_.pending) {
            const auto message = behind(position - 1);
            if (session != held.session && claimed < count && message != log().messages.end()) {
                session = held.session;
                held.ahead.push_back({position, message->event});
                ++claimed;
            }
        }
        return claimed;
    }

    const SimBroker& broker_;
    Group group_;
    Group on_disk_;
};

class RedisLike final : public SimBroker {
public:
    using SimBroker::SimBroker;

    void restart() override {
        if (has(BrokerBug::kFailoverLosesTail)) {
            lose_tails();
        }
        SimBroker::restart();
    }

    [[nodiscard]] std::size_t ahead_max() const override { return 8; }
    [[nodiscard]] std::chrono::milliseconds belief_max() const override {
        return std::chrono::seconds{2};
    }

protected:
    std::unique_ptr<Slot> make_slot(PartitionLog& log, Position start) override {
        return std::make_unique<RedisSlot>(*this, log, start);
    }

private:
    /// A replica that had not got the last entries becomes the primary.
    void lose_tails() {
        for (auto& [name, logs] : topics()) {
            for (PartitionLog& log : logs) {
                const std::size_t lost =
                    std::min<std::size_t>(log.messages.size(), chaos().random().below(4));
                log.messages.resize(log.messages.size() - lost);
            }
        }
    }
};

}  // namespace

std::unique_ptr<SimBroker> make_redis_like(SimBrokerOptions options, Chaos& chaos) {
    return std::make_unique<RedisLike>(options, chaos);
}

}  // namespace instep::simulation
