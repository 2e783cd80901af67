// A broker in memory with every fault that the port allows: confirms and acknowledgements are
// lost, batches stop half-way, deliveries come again or fewer, members are cut off or time out
// while they still believe in their partitions, and a restart forgets who held what.
//
// Kinds of brokers derive from it; make_sim_broker() knows them.
#pragma once

#include "instep/broker/broker.hpp"
#include "tests/simulation/broker_kind.hpp"
#include "tests/simulation/chaos.hpp"
#include "tests/simulation/slot.hpp"

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace instep::simulation {

/// Borrows what stands still and goes wrong.
class SimBroker : public Broker {
public:
    struct Subscription {
        /// Living members by name: their session and when their time runs out.
        struct Member {
            std::uint64_t session = 0;
            Timestamp until{};
        };

        std::string topic;
        StartAt start_at = StartAt::kEarliest;

        /// One a partition, once there is a topic.
        std::vector<std::unique_ptr<Slot>> slots{};
        std::map<std::string, Member, std::less<>> members{};
    };

    SimBroker(SimBrokerOptions options, Chaos& chaos) : options_(options), chaos_(chaos) {}

    [[nodiscard]] BrokerFeatures features() const override;
    [[nodiscard]] std::string_view display_url() const override { return "simulated:"; }
    Result<std::unique_ptr<Publisher>> publisher() override;
    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override;
    Result<std::vector<KeptEvents>> kept(std::string_view topic) override;
    Result<std::uint64_t> trim(Timestamp before) override;

    /// Connections and memberships are gone, and acknowledgements that were not yet on disk.
    virtual void restart();

    /// Called for each event that became durable.
    using Observer = std::function<void(std::string_view topic, std::uint32_t partition,
                                        std::uint32_t partitions, const Event& event)>;
    void on_published(Observer observer) { observer_ = std::move(observer); }

    // The rest is for publishers and subscribers.

    /// Every call begins here.
    Result<void> enter();
    Result<void> declare_topic(std::string_view topic, std::uint32_t partitions);

    /// Null if there is none.
    std::vector<PartitionLog>* find_topic(std::string_view topic);
    void append(const PublishBatch& batch, const Event& event);
    [[nodiscard]] bool has_subscription(std::string_view topic) const;
    [[nodiscard]] Subscription& subscription(std::string_view name);

    /// Makes what is missing of the subscription's slots.
    void make_slots(Subscription& subscription);
    std::uint64_t next_session() { return ++sessions_; }
    [[nodiscard]] std::uint64_t restarts() const { return restarts_; }
    [[nodiscard]] Chaos& chaos() const { return chaos_; }
    [[nodiscard]] Timestamp now() const { return chaos_.scheduler().clock().now(); }
    [[nodiscard]] bool has(BrokerBug bug) const { return options_.bug == bug; }

    /// Most messages that a client fetches ahead of what it was asked for.
    [[nodiscard]] virtual std::size_t ahead_max() const { return 0; }

    /// Nothing is given out while so many messages are unacknowledged, unless they are for one who
    /// acknowledges late.
    [[nodiscard]] virtual std::size_t unacknowledged_max() const {
        return std::numeric_limits<std::size_t>::max();
    }

    /// How long a member that was cut off may take itself for one.
    [[nodiscard]] virtual std::chrono::milliseconds belief_max() const {
        return std::chrono::milliseconds{0};
    }

protected:
    virtual std::unique_ptr<Slot> make_slot(PartitionLog& log, Position start) = 0;
    virtual std::unique_ptr<Publisher> make_publisher();

    /// True if trim() does the work here.
    [[nodiscard]] virtual bool is_trimmed() const { return true; }
    std::map<std::string, std::vector<PartitionLog>, std::less<>>& topics() { return topics_; }

private:
    SimBrokerOptions options_;
    Chaos& chaos_;
    Observer observer_;
    std::map<std::string, std::vector<PartitionLog>, std::less<>> topics_;
    std::map<std::string, Subscription, std::less<>> subscriptions_;
    std::uint64_t sessions_ = 0;
    std::uint64_t restarts_ = 0;
};

std::unique_ptr<SimBroker> make_sim_broker(BrokerKind kind, SimBrokerOptions options, Chaos& chaos);

// One for each kind; the kinds' own files say what is special about them.
std::unique_ptr<SimBroker> make_redis_like(SimBrokerOptions options, Chaos& chaos);
std::unique_ptr<SimBroker> make_amqp_like(SimBrokerOptions options, Chaos& chaos);
std::unique_ptr<SimBroker> make_kafka_like(SimBrokerOptions options, Chaos& chaos);

}  // namespace instep::simulation
