// Partitions as logs, whose offsets are committed for each group. Reading asks for no group, so a
// member that was replaced goes on reading until it hears of it, and only its commit is refused.
// A producer that misses an answer sends again by itself: the end of a batch may stand there
// twice. Publishers are not fenced, and events are kept whoever has read them.
#include "tests/simulation/sim_broker.hpp"
#include "tests/simulation/sim_publisher.hpp"

#include <algorithm>

namespace instep::simulation {

namespace {

class KafkaSlot final : public CursorSlot {
public:
    KafkaSlot(const SimBroker& broker, PartitionLog& log, Position start)
        : CursorSlot(log, broker.chaos(), start), broker_(broker) {}

    void fetch(Held& held, std::size_t count) override {
        CursorSlot::fetch(held, count);
        if (broker_.has(BrokerBug::kAcknowledgesOnReceive)) {
            commit(held.fetched);
        }
    }

    void acknowledge(Held& /*held*/, Position position) override { commit(position); }

    void rewind(Position position) override {
        CursorSlot::rewind(position);
        make_safe();
    }

    void lost(const Held& held) override {
        if (broker_.has(BrokerBug::kFormerHolderCommits)) {
            commit(held.fetched);
        }
    }

protected:
    void begin(Held& held) override {
        if (broker_.has(BrokerBug::kStartsAtEnd) && !has_committed_) {
            commit(log().newest);
        }
        CursorSlot::begin(held);
    }

private:
    void commit(Position position) {
        advance(position);
        make_safe();
        has_committed_ = true;
    }

    const SimBroker& broker_;
    bool has_committed_ = false;
};

class KafkaPublisher final : public SimPublisher {
public:
    using SimPublisher::SimPublisher;

    PublishOutcome publish(const PublishBatch& batch) override {
        if (!broker().has(BrokerBug::kRetryIsOvertaken) || batch.events.size() < 2 ||
            !chaos().strikes(&Faults::refused)) {
            return SimPublisher::publish(batch);
        }
        // Two requests under way, and the first is the one that has to be repeated.
        std::vector<Event> events(batch.events.begin(), batch.events.end());
        const auto first = chaos().random().below(events.size() - 1) + 1;
        std::ranges::rotate(events, events.begin() + static_cast<std::ptrdiff_t>(first));
        PublishBatch overtaken = batch;
        overtaken.events = events;
        return SimPublisher::publish(overtaken);
    }

protected:
    PublishOutcome lose_confirm(const PublishBatch& batch) override {
        if (chaos().random().below(2) == 0) {
            return SimPublisher::lose_confirm(batch);
        }
        const std::size_t repeated = 1 + chaos().random().below(batch.events.size());
        for (const Event& event : batch.events.last(repeated)) {
            broker().append(batch, event);
        }
        return {.durable = batch.events.size(), .failure = std::nullopt};
    }
};

class KafkaLike final : public SimBroker {
public:
    using SimBroker::SimBroker;

    [[nodiscard]] BrokerFeatures features() const override {
        BrokerFeatures features = SimBroker::features();
        features.fences_publishers = false;
        return features;
    }

    [[nodiscard]] std::size_t ahead_max() const override { return 8; }
    [[nodiscard]] std::chrono::milliseconds belief_max() const override {
        return std::chrono::seconds{2};
    }

protected:
    std::unique_ptr<Slot> make_slot(PartitionLog& log, Position start) override {
        return std::make_unique<KafkaSlot>(*this, log, start);
    }
    std::unique_ptr<Publisher> make_publisher() override {
        return std::make_unique<KafkaPublisher>(*this);
    }
    [[nodiscard]] bool is_trimmed() const override { return false; }
};

}  // namespace

std::unique_ptr<SimBroker> make_kafka_like(SimBrokerOptions options, Chaos& chaos) {
    return std::make_unique<KafkaLike>(options, chaos);
}

}  // namespace instep::simulation
