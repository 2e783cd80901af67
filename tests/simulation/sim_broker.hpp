// A broker in memory with every fault that the port allows: confirms and acknowledgements are
// lost, batches stop half-way, deliveries come again or fewer, members time out while they
// still believe in their partitions, and a restart forgets who held what.
#pragma once

#include "instep/broker/broker.hpp"
#include "tests/simulation/chaos.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep::simulation {

struct SimBrokerOptions {
    bool fences_publishers = true;
    bool remembers_last_version = true;
    std::chrono::milliseconds visibility_delay{0};
};

class SimBroker final : public Broker {
public:
    SimBroker(SimBrokerOptions options, Chaos& chaos) : options_(options), chaos_(chaos) {}

    [[nodiscard]] BrokerFeatures features() const override;
    [[nodiscard]] std::string_view display_url() const override { return "simulated:"; }
    Result<std::unique_ptr<Publisher>> publisher() override;
    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override;
    Result<std::uint64_t> trim(Timestamp before) override;

    /// Connections and memberships are gone, and acknowledgements that were not yet on disk.
    void restart();

    /// Called for each event that became durable.
    using Observer = std::function<void(std::string_view topic, std::uint32_t partition,
                                        std::uint32_t partitions, const Event& event)>;
    void on_published(Observer observer) { observer_ = std::move(observer); }

private:
    friend class SimPublisher;
    friend class SimSubscriber;

    struct Message {
        Position position = 0;
        Timestamp visible{};
        Event event;
    };

    /// What one source published last, and with the highest epoch.
    struct Source {
        std::uint64_t epoch = 0;
        LastPublished last;
    };

    struct PartitionLog {
        std::vector<Message> messages;
        Position newest = 0;
        std::map<std::string, Source, std::less<>> sources;
    };

    /// How far a subscription is in a partition, and who holds it.
    struct Share {
        Position acknowledged = 0;
        Position on_disk = 0;
        std::uint64_t session = 0;
        std::uint64_t epoch = 0;
    };

    struct Subscription {
        std::string topic;
        std::vector<Share> shares;

        /// Living members by name: their session and when their time runs out.
        struct Member {
            std::uint64_t session = 0;
            Timestamp until{};
        };
        std::map<std::string, Member, std::less<>> members;
    };

    Result<void> enter();
    void append(std::string_view topic, std::uint32_t partition, const Event& event,
                std::uint64_t epoch);
    [[nodiscard]] Timestamp now() const { return chaos_.scheduler().clock().now(); }
    std::vector<PartitionLog>* find_topic(std::string_view topic);
    Subscription& subscription(std::string_view name);

    SimBrokerOptions options_;
    Chaos& chaos_;
    Observer observer_;
    std::map<std::string, std::vector<PartitionLog>, std::less<>> topics_;
    std::map<std::string, Subscription, std::less<>> subscriptions_;
    std::uint64_t sessions_ = 0;
    std::uint64_t restarts_ = 0;
};

}  // namespace instep::simulation
