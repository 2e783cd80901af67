#include "tests/simulation/sim_broker.hpp"

#include "tests/simulation/sim_publisher.hpp"
#include "tests/simulation/sim_subscriber.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::simulation {

namespace {

/// As the embedded broker, or any that hands out positions of a log.
class EmbeddedLike final : public SimBroker {
public:
    using SimBroker::SimBroker;

protected:
    std::unique_ptr<Slot> make_slot(PartitionLog& log, Position start) override {
        return std::make_unique<CursorSlot>(log, chaos(), start);
    }
};

Position start_of(const PartitionLog& log, StartAt start_at) {
    return start_at == StartAt::kLatest || log.messages.empty() ? log.newest
                                                                : log.messages.front().position - 1;
}

}  // namespace

std::unique_ptr<SimBroker> make_sim_broker(BrokerKind kind, SimBrokerOptions options,
                                           Chaos& chaos) {
    switch (kind) {
        case BrokerKind::kEmbedded:
            return std::make_unique<EmbeddedLike>(options, chaos);
        case BrokerKind::kRedis:
            return make_redis_like(options, chaos);
        case BrokerKind::kAmqp:
            return make_amqp_like(options, chaos);
        case BrokerKind::kKafka:
            return make_kafka_like(options, chaos);
    }
    return nullptr;
}

BrokerFeatures SimBroker::features() const {
    return {.fences_publishers = options_.fences_publishers,
            .remembers_last_version = options_.remembers_last_version,
            .stable_positions = true,
            .replays = true,
            .event_bytes_max = kEventDataBytesMax};
}

Result<void> SimBroker::enter() {
    INSTEP_TRY(chaos_.enter_call());
    if (chaos_.strikes(&Faults::broker_unavailable)) {
        return fail(ErrorCode::kUnavailable, "simulated: the broker does not answer");
    }
    return {};
}

std::vector<PartitionLog>* SimBroker::find_topic(std::string_view topic) {
    const auto found = topics_.find(topic);
    return found == topics_.end() ? nullptr : &found->second;
}

bool SimBroker::has_subscription(std::string_view topic) const {
    return std::ranges::any_of(subscriptions_, [&](const auto& subscription) {
        return subscription.second.topic == topic;
    });
}

SimBroker::Subscription& SimBroker::subscription(std::string_view name) {
    return subscriptions_.find(name)->second;
}

Result<void> SimBroker::declare_topic(std::string_view topic, std::uint32_t partitions) {
    auto [found, is_new] = topics_.try_emplace(std::string(topic), partitions);
    if (found->second.size() != partitions) {
        return fail(ErrorCode::kConflict,
                    fmt::format("topic {} has {} partitions", topic, found->second.size()));
    }
    for (auto& [name, subscription] : subscriptions_) {
        if (is_new && subscription.topic == topic && !has(BrokerBug::kQueueMadeLate)) {
            make_slots(subscription);
        }
    }
    return {};
}

void SimBroker::make_slots(Subscription& subscription) {
    auto* const logs = find_topic(subscription.topic);
    for (std::size_t p = subscription.slots.size(); logs != nullptr && p < logs->size(); ++p) {
        PartitionLog& log = (*logs)[p];
        subscription.slots.push_back(make_slot(log, start_of(log, subscription.start_at)));
    }
}

void SimBroker::append(const PublishBatch& batch, const Event& event) {
    auto& partitions = *find_topic(batch.topic);
    PartitionLog& log = partitions[batch.partition];
    Message message;
    log.newest += 1 + (chaos_.random().below(8) == 0 ? 3 : 0);
    message.position = log.newest;
    message.visible = log.messages.empty() ? now() : std::max(now(), log.messages.back().visible);
    if (options_.visibility_delay.count() > 0) {
        message.visible += std::chrono::milliseconds{
            chaos_.random().below(static_cast<std::uint64_t>(options_.visibility_delay.count()))};
    }
    message.event = event;
    log.messages.push_back(std::move(message));
    for (auto& [name, subscription] : subscriptions_) {
        if (subscription.topic == batch.topic && !subscription.slots.empty()) {
            subscription.slots[batch.partition]->stored(log.messages.back());
        }
    }
    PartitionLog::Source& source = log.sources[event.source];
    source = {std::max(source.epoch, batch.fencing_epoch), {event.incarnation, event.version}};
    chaos_.scheduler().trace("stored", event.id, batch.topic);
    if (observer_) {
        observer_(batch.topic, batch.partition, static_cast<std::uint32_t>(partitions.size()),
                  event);
    }
}

std::unique_ptr<Publisher> SimBroker::make_publisher() {
    return std::make_unique<SimPublisher>(*this);
}

Result<std::unique_ptr<Publisher>> SimBroker::publisher() {
    INSTEP_TRY(enter());
    return make_publisher();
}

Result<std::unique_ptr<Subscriber>> SimBroker::subscribe(SubscribeOptions options) {
    INSTEP_TRY(enter());
    const auto [found, is_new] = subscriptions_.try_emplace(options.subscription);
    if (is_new) {
        found->second.topic = options.topic;
        found->second.start_at = options.start_at;
        make_slots(found->second);
        // A topic that comes later is read from its beginning.
        found->second.start_at = StartAt::kEarliest;
    }
    return std::make_unique<SimSubscriber>(*this, std::move(options));
}

Result<std::vector<SubscriptionLag>> SimBroker::lag(std::string_view topic) {
    INSTEP_TRY(enter());
    std::vector<SubscriptionLag> lags;
    for (const auto& [name, subscription] : subscriptions_) {
        if (!topic.empty() && topic != subscription.topic) {
            continue;
        }
        for (std::uint32_t p = 0; p < subscription.slots.size(); ++p) {
            const Slot& slot = *subscription.slots[p];
            lags.push_back({name, subscription.topic, p, slot.acknowledged(),
                            topics_.find(subscription.topic)->second[p].newest, slot.backlog(),
                            std::nullopt});
        }
    }
    return lags;
}

Result<std::vector<KeptEvents>> SimBroker::kept(std::string_view topic) {
    INSTEP_TRY(enter());
    if (!features().replays) {
        return Broker::kept(topic);
    }
    std::vector<KeptEvents> all;
    if (const auto* const logs = find_topic(topic)) {
        for (const PartitionLog& log : *logs) {
            KeptEvents& kept = all.emplace_back();
            kept.partition = static_cast<std::uint32_t>(all.size() - 1);
            kept.before = log.before();
            kept.newest = log.newest;
            kept.is_trimmed = log.is_trimmed;
            kept.oldest = log.messages.empty() ? std::nullopt
                                               : std::optional(log.messages.front().event.time);
        }
    }
    return all;
}

Result<std::uint64_t> SimBroker::trim(Timestamp before) {
    INSTEP_TRY(enter());
    std::uint64_t trimmed = 0;
    for (auto& [name, logs] : topics_) {
        for (std::size_t p = 0; is_trimmed() && p < logs.size(); ++p) {
            Position done = logs[p].newest;
            for (const auto& [subscription_name, subscription] : subscriptions_) {
                done = subscription.topic == name ? std::min(done, subscription.slots[p]->done())
                                                  : done;
            }
            const std::uint64_t deleted =
                std::erase_if(logs[p].messages, [&](const Message& message) {
                    return message.position <= done && message.visible < before;
                });
            logs[p].is_trimmed = logs[p].is_trimmed || deleted > 0;
            trimmed += deleted;
        }
    }
    return trimmed;
}

void SimBroker::restart() {
    ++restarts_;
    chaos_.scheduler().trace("restart", "broker", "");
    for (auto& [name, subscription] : subscriptions_) {
        subscription.members.clear();
        std::ranges::for_each(subscription.slots, [](const auto& slot) { slot->restart(); });
    }
}

}  // namespace instep::simulation
