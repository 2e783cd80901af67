#include "tests/simulation/sim_broker.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::simulation {

namespace {

std::unexpected<Error> unavailable(std::string_view what) {
    return fail(ErrorCode::kUnavailable, fmt::format("simulated: {}", what));
}

}  // namespace

BrokerFeatures SimBroker::features() const {
    return {.fences_publishers = options_.fences_publishers,
            .remembers_last_version = options_.remembers_last_version,
            .stable_positions = true,
            .replays = false,
            .event_bytes_max = kEventDataBytesMax};
}

Result<void> SimBroker::enter() {
    INSTEP_TRY(chaos_.enter_call());
    if (chaos_.strikes(&Faults::broker_unavailable)) {
        return unavailable("the broker does not answer");
    }
    return {};
}

std::vector<SimBroker::PartitionLog>* SimBroker::find_topic(std::string_view topic) {
    const auto found = topics_.find(topic);
    return found == topics_.end() ? nullptr : &found->second;
}

/// With a share for each partition, also those of a topic that is younger.
SimBroker::Subscription& SimBroker::subscription(std::string_view name) {
    Subscription& subscription = subscriptions_.find(name)->second;
    if (const auto* topic = find_topic(subscription.topic)) {
        subscription.shares.resize(topic->size());
    }
    return subscription;
}

void SimBroker::append(std::string_view topic, std::uint32_t partition, const Event& event,
                       std::uint64_t epoch) {
    auto& partitions = *find_topic(topic);
    PartitionLog& log = partitions[partition];
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
    Source& source = log.sources[event.source];
    source = {std::max(source.epoch, epoch), {event.incarnation, event.version}};
    chaos_.scheduler().trace("stored", event.id, topic);
    if (observer_) {
        observer_(topic, partition, static_cast<std::uint32_t>(partitions.size()), event);
    }
}

class SimPublisher final : public Publisher {
public:
    explicit SimPublisher(SimBroker& broker) : broker_(broker), chaos_(broker.chaos_) {}

    Result<void> declare_topic(std::string_view topic, std::uint32_t partitions) override {
        INSTEP_TRY(broker_.enter());
        auto& logs = broker_.topics_.try_emplace(std::string(topic), partitions).first->second;
        if (logs.size() != partitions) {
            return fail(ErrorCode::kConflict,
                        fmt::format("topic {} has {} partitions", topic, logs.size()));
        }
        return {};
    }

    PublishOutcome publish(const PublishBatch& batch) override {
        const std::size_t stored = store(batch);
        PublishOutcome outcome;
        outcome.durable = stored;
        if (stored < batch.events.size()) {
            outcome.failure = failure_;
        } else if (chaos_.strikes(&Faults::confirm_lost)) {
            outcome.durable = chaos_.random().below(stored);
            outcome.failure = unavailable("the confirm was lost").error();
        }
        chaos_.scheduler().trace("publish", batch.topic,
                                 fmt::format("{} stored, {} of {} confirmed", stored,
                                             outcome.durable, batch.events.size()));
        return outcome;
    }

    Result<std::optional<LastPublished>> last_published(std::string_view topic,
                                                        std::uint32_t partition,
                                                        std::string_view source) override {
        INSTEP_TRY(broker_.enter());
        const auto* logs = broker_.find_topic(topic);
        if (logs == nullptr) {
            return std::nullopt;
        }
        const auto& sources = (*logs)[partition].sources;
        const auto found = sources.find(source);
        if (found == sources.end()) {
            return std::nullopt;
        }
        return found->second.last;
    }

private:
    /// Between two events another publisher may come in, or the broker may restart.
    std::size_t store(const PublishBatch& batch) {
        for (std::size_t i = 0; i < batch.events.size(); ++i) {
            auto entered = i == 0                          ? broker_.enter()
                           : chaos_.random().below(4) == 0 ? chaos_.enter_step()
                                                           : Result<void>{};
            if (!entered) {
                failure_ = entered.error();
                return i;
            }
            if (i == 0) {
                restarts_seen_ = broker_.restarts_;
            }
            if (restarts_seen_ != broker_.restarts_ || chaos_.strikes(&Faults::refused)) {
                failure_ = unavailable("the broker refuses the event").error();
                return i;
            }
            const Event& event = batch.events[i];
            auto& sources = (*broker_.find_topic(batch.topic))[batch.partition].sources;
            if (broker_.options_.fences_publishers &&
                batch.fencing_epoch < sources[event.source].epoch) {
                failure_ = fail(ErrorCode::kFenced, "another publisher has taken over").error();
                return i;
            }
            broker_.append(batch.topic, batch.partition, event, batch.fencing_epoch);
        }
        return batch.events.size();
    }

    SimBroker& broker_;
    Chaos& chaos_;
    std::uint64_t restarts_seen_ = 0;
    std::optional<Error> failure_;
};

class SimSubscriber final : public Subscriber {
public:
    SimSubscriber(SimBroker& broker, SubscribeOptions options)
        : broker_(broker),
          chaos_(broker.chaos_),
          options_(std::move(options)),
          session_(++broker.sessions_) {}

    ~SimSubscriber() override {
        if (chaos_.scheduler().is_dead()) {
            return;
        }
        auto& subscription = broker_.subscription(options_.subscription);
        const auto member = subscription.members.find(options_.member);
        if (member != subscription.members.end() && member->second.session == session_) {
            subscription.members.erase(member);
        }
    }

    Result<std::vector<Assignment>> assignments() override {
        INSTEP_TRY(broker_.enter());
        auto& subscription = broker_.subscription(options_.subscription);
        renew(subscription);
        share_out(subscription);
        std::vector<Assignment> assignments;
        assignments.reserve(held_.size());
        for (const Held& held : held_) {
            assignments.push_back({held.partition, held.epoch, held.acknowledged});
        }
        return assignments;
    }

    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override {
        INSTEP_TRY(broker_.enter());
        std::vector<Delivery> deliveries;
        if (chaos_.strikes(&Faults::fewer)) {
            events_max = chaos_.random().below(events_max + 1);
        }
        auto& subscription = broker_.subscription(options_.subscription);
        for (Held& held : held_) {
            const bool stale = !holds(subscription, held);
            if (held.leaving || (stale && !chaos_.strikes(&Faults::stale_delivery))) {
                continue;
            }
            if (chaos_.strikes(&Faults::redelivered)) {
                held.read = held.acknowledged;
            }
            read(held, events_max, bytes_max, deliveries);
        }
        chaos_.scheduler().trace("receive", options_.subscription,
                                 fmt::format("{}", deliveries.size()));
        return deliveries;
    }

    Result<void> acknowledge(std::uint32_t partition, Position position) override {
        INSTEP_TRY(broker_.enter());
        const bool lost = chaos_.strikes(&Faults::acknowledge_lost);
        if (lost && chaos_.random().below(2) == 0) {
            return unavailable("the acknowledgement did not arrive");
        }
        INSTEP_TRY_ASSIGN(Held* const held, find(partition));
        held->acknowledged = std::max(held->acknowledged, position);
        auto& share = broker_.subscription(options_.subscription).shares[partition];
        share.acknowledged = std::max(share.acknowledged, position);
        if (chaos_.random().below(4) == 0) {
            share.on_disk = share.acknowledged;
        }
        chaos_.scheduler().trace("ack", options_.subscription, fmt::format("{}", position));
        if (lost) {
            return unavailable("the answer to the acknowledgement was lost");
        }
        return {};
    }

    Result<void> seek(std::uint32_t partition, Position position) override {
        INSTEP_TRY(broker_.enter());
        INSTEP_TRY_ASSIGN(Held* const held, find(partition));
        held->read = position;
        return {};
    }

    void wait(std::stop_token /*stop*/, std::chrono::milliseconds /*patience*/) override {}

private:
    /// A partition that this member believes it holds.
    struct Held {
        std::uint32_t partition = 0;
        std::uint64_t epoch = 0;
        Position acknowledged = 0;
        Position read = 0;
        bool leaving = false;
    };

    [[nodiscard]] bool holds(const SimBroker::Subscription& subscription, const Held& held) const {
        const auto& share = subscription.shares[held.partition];
        return share.session == session_ && share.epoch == held.epoch;
    }

    void renew(SimBroker::Subscription& subscription) const {
        std::erase_if(subscription.members,
                      [&](const auto& member) { return member.second.until <= broker_.now(); });
        auto& member = subscription.members[options_.member];
        member = {session_, broker_.now() + options_.member_timeout};
    }

    /// As many partitions each, but for one; takes what nobody living holds.
    void share_out(SimBroker::Subscription& subscription) {
        std::erase_if(held_, [&](const Held& held) { return !holds(subscription, held); });
        const std::size_t members = subscription.members.size();
        const auto rank = static_cast<std::size_t>(std::distance(
            subscription.members.begin(), subscription.members.find(options_.member)));
        const std::size_t partitions = subscription.shares.size();
        const std::size_t fair = partitions / members + (rank < partitions % members ? 1 : 0);
        for (std::size_t i = held_.size(); i > 0 && held_.size() > fair; --i) {
            Held& held = held_[i - 1];
            held.leaving = true;
            if (held.read <= held.acknowledged) {
                subscription.shares[held.partition].session = 0;
                held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i - 1));
            }
        }
        for (std::uint32_t p = 0; p < partitions && held_.size() < fair; ++p) {
            auto& share = subscription.shares[p];
            const bool taken = std::ranges::any_of(subscription.members, [&](const auto& member) {
                return member.second.session == share.session;
            });
            if (!taken) {
                share.session = session_;
                ++share.epoch;
                held_.push_back({p, share.epoch, share.acknowledged, share.acknowledged});
            }
        }
        if (held_.size() <= fair) {
            std::ranges::for_each(held_, [](Held& held) { held.leaving = false; });
        }
    }

    void read(Held& held, std::size_t events_max, std::size_t bytes_max,
              std::vector<Delivery>& deliveries) const {
        const auto& log = (*broker_.find_topic(options_.topic))[held.partition];
        std::size_t bytes = 0;
        auto next =
            std::ranges::upper_bound(log.messages, held.read, {}, &SimBroker::Message::position);
        for (; next != log.messages.end() && next->visible <= broker_.now() &&
               deliveries.size() < events_max && bytes <= bytes_max;
             ++next) {
            bytes += next->event.data.size();
            held.read = next->position;
            deliveries.push_back({held.partition, next->position, next->event, std::nullopt});
        }
    }

    Result<Held*> find(std::uint32_t partition) {
        const auto held = std::ranges::find(held_, partition, &Held::partition);
        if (held != held_.end() && holds(broker_.subscription(options_.subscription), *held)) {
            return &*held;
        }
        if (held != held_.end()) {
            held_.erase(held);
        }
        return fail(ErrorCode::kFenced, "the partition is no longer held");
    }

    SimBroker& broker_;
    Chaos& chaos_;
    SubscribeOptions options_;
    std::uint64_t session_;
    std::vector<Held> held_;
};

Result<std::unique_ptr<Publisher>> SimBroker::publisher() {
    INSTEP_TRY(enter());
    return std::make_unique<SimPublisher>(*this);
}

Result<std::unique_ptr<Subscriber>> SimBroker::subscribe(SubscribeOptions options) {
    INSTEP_TRY(enter());
    Subscription fresh;
    fresh.topic = options.topic;
    if (const auto* logs = find_topic(options.topic); logs != nullptr) {
        for (const PartitionLog& log : *logs) {
            const Position start = options.start_at == StartAt::kLatest ? log.newest
                                   : log.messages.empty()               ? log.newest
                                                          : log.messages.front().position - 1;
            fresh.shares.push_back({start, start, 0, 0});
        }
    }
    subscriptions_.try_emplace(options.subscription, std::move(fresh));
    return std::make_unique<SimSubscriber>(*this, std::move(options));
}

Result<std::vector<SubscriptionLag>> SimBroker::lag(std::string_view topic) {
    INSTEP_TRY(enter());
    std::vector<SubscriptionLag> lags;
    for (const auto& [name, unused] : subscriptions_) {
        const Subscription& of = subscription(name);
        if (!topic.empty() && topic != of.topic) {
            continue;
        }
        for (std::uint32_t p = 0; p < of.shares.size(); ++p) {
            const PartitionLog& log = topics_.find(of.topic)->second[p];
            const auto behind = std::ranges::upper_bound(log.messages, of.shares[p].acknowledged,
                                                         {}, &Message::position);
            lags.push_back({name, of.topic, p, of.shares[p].acknowledged, log.newest,
                            static_cast<std::uint64_t>(log.messages.end() - behind), std::nullopt});
        }
    }
    return lags;
}

Result<std::uint64_t> SimBroker::trim(Timestamp before) {
    INSTEP_TRY(enter());
    std::uint64_t trimmed = 0;
    for (auto& [name, logs] : topics_) {
        for (std::size_t p = 0; p < logs.size(); ++p) {
            Position done = logs[p].newest;
            for (auto& [subscription_name, unused] : subscriptions_) {
                const Subscription& of = subscription(subscription_name);
                done = of.topic == name ? std::min(done, of.shares[p].on_disk) : done;
            }
            trimmed += std::erase_if(logs[p].messages, [&](const Message& message) {
                return message.position <= done && message.visible < before;
            });
        }
    }
    return trimmed;
}

void SimBroker::restart() {
    ++restarts_;
    chaos_.scheduler().trace("restart", "broker", "");
    for (auto& [name, subscription] : subscriptions_) {
        subscription.members.clear();
        for (Share& share : subscription.shares) {
            share.acknowledged = share.on_disk;
            share.session = 0;
        }
    }
}

}  // namespace instep::simulation
