// Queues, one a subscription and partition, with one active consumer. A position is a delivery
// tag, which ends with the assignment. What a consumer
// leaves unacknowledged goes back to the head of its queue, in order. Events of a topic that
// nobody has subscribed to are confirmed and dropped; otherwise an event that reaches no queue is
// returned. Nothing is known of what was published.
#include "tests/simulation/sim_broker.hpp"
#include "tests/simulation/sim_publisher.hpp"

#include <algorithm>
#include <iterator>

namespace instep::simulation {

namespace {

class AmqpSlot final : public Slot {
public:
    AmqpSlot(const SimBroker& broker, PartitionLog& log)
        : Slot(log, broker.chaos()), broker_(broker) {}

    void stored(const Message& message) override { ready_.push_back(message); }

    void fetch(Held& held, std::size_t count) override {
        for (; count > 0 && !ready_.empty() && ready_.front().visible <= now(); --count) {
            Message message = std::move(ready_.front());
            ready_.pop_front();
            message.position = ++held.fetched;
            held.ahead.push_back({message.position, message.event});
            if (!broker_.has(BrokerBug::kAcknowledgesOnReceive)) {
                unacknowledged_.push_back(std::move(message));
            }
        }
    }

    void acknowledge(Held& /*held*/, Position position) override {
        const auto end =
            std::ranges::upper_bound(unacknowledged_, position, {}, &Message::position);
        std::move(unacknowledged_.begin(), end, std::back_inserter(unsafe_));
        unacknowledged_.erase(unacknowledged_.begin(), end);
        if (random().below(4) == 0) {
            unsafe_.clear();
        }
    }

    /// The client counts on from where it reads again.
    void seek(Held& held, Position position) override {
        requeue_behind(position);
        held.fetched = position;
    }

    [[nodiscard]] Position acknowledged() const override { return 0; }
    [[nodiscard]] Position done() const override { return 0; }
    [[nodiscard]] std::uint64_t backlog() const override {
        return ready_.size() + unacknowledged_.size();
    }

protected:
    void begin(Held& held) override {
        requeue_behind(0);
        held.acknowledged = 0;
    }

    /// Acknowledgements that had not reached the disk.
    void forget_unsafe() override {
        requeue_behind(0);
        std::move(unsafe_.rbegin(), unsafe_.rend(), std::front_inserter(ready_));
        unsafe_.clear();
    }

private:
    void requeue_behind(Position position) {
        const auto begin =
            std::ranges::upper_bound(unacknowledged_, position, {}, &Message::position);
        const bool at_tail = broker_.has(BrokerBug::kRequeuesAtTail);
        ready_.insert(at_tail ? ready_.end() : ready_.begin(), begin, unacknowledged_.end());
        unacknowledged_.erase(begin, unacknowledged_.end());
    }

    const SimBroker& broker_;
    std::deque<Message> ready_;
    std::deque<Message> unacknowledged_;

    /// Acknowledged, but a restart would bring them again.
    std::deque<Message> unsafe_;
};

class AmqpPublisher final : public SimPublisher {
public:
    using SimPublisher::SimPublisher;

    PublishOutcome publish(const PublishBatch& batch) override {
        if (broker().has(BrokerBug::kGapInBatch) && batch.events.size() > 1 &&
            chaos().strikes(&Faults::refused)) {
            return publish_with_gap(batch);
        }
        PublishOutcome outcome = SimPublisher::publish(batch);
        if (broker().has(BrokerBug::kConfirmCountsForAll) && outcome.durable > 0) {
            outcome = {.durable = batch.events.size(), .failure = std::nullopt};
        }
        return outcome;
    }

protected:
    Result<void> store(const PublishBatch& batch, const Event& event) override {
        if (broker().has_subscription(batch.topic) && chaos().strikes(&Faults::unroutable)) {
            chaos().scheduler().trace("returned", event.id, batch.topic);
            if (broker().has(BrokerBug::kUnroutableIsConfirmed)) {
                return {};
            }
            return fail(ErrorCode::kNotFound, "simulated: the event reached no queue");
        }
        return SimPublisher::store(batch, event);
    }

private:
    /// One event is refused, and what was sent behind it is stored all the same.
    PublishOutcome publish_with_gap(const PublishBatch& batch) {
        const auto gap = static_cast<std::size_t>(chaos().random().below(batch.events.size() - 1));
        std::vector<Event> events(batch.events.begin(), batch.events.end());
        events.erase(events.begin() + static_cast<std::ptrdiff_t>(gap));
        PublishBatch others = batch;
        others.events = events;
        PublishOutcome outcome = SimPublisher::publish(others);
        return {.durable = std::min(gap, outcome.durable),
                .failure = Error{ErrorCode::kUnavailable, "simulated: an event was refused"}};
    }
};

class AmqpLike final : public SimBroker {
public:
    using SimBroker::SimBroker;

    [[nodiscard]] BrokerFeatures features() const override {
        BrokerFeatures features = SimBroker::features();
        features.fences_publishers = false;
        features.remembers_last_version = false;
        features.stable_positions = false;
        features.replays = false;
        return features;
    }

    [[nodiscard]] std::size_t ahead_max() const override { return 8; }
    /// Few, as transactions of a run are small.
    [[nodiscard]] std::size_t unacknowledged_max() const override { return 8; }
    [[nodiscard]] std::chrono::milliseconds belief_max() const override {
        return std::chrono::seconds{2};
    }

protected:
    std::unique_ptr<Slot> make_slot(PartitionLog& log, Position /*start*/) override {
        return std::make_unique<AmqpSlot>(*this, log);
    }
    std::unique_ptr<Publisher> make_publisher() override {
        return std::make_unique<AmqpPublisher>(*this);
    }
    [[nodiscard]] bool is_trimmed() const override { return false; }
};

}  // namespace

std::unique_ptr<SimBroker> make_amqp_like(SimBrokerOptions options, Chaos& chaos) {
    return std::make_unique<AmqpLike>(options, chaos);
}

}  // namespace instep::simulation
