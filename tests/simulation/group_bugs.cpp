#include "instep/log/boundary.hpp"
#include "tests/simulation/owner.hpp"
#include "tests/simulation/bug_parts.hpp"
#include "tests/simulation/planted_bugs.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace instep::simulation {

namespace {

bool is_whole(const PublishBatch& batch) { return batch.topic == transactions_topic(kOwner); }

/// Puts a boundary behind the first of several events.
class CuttingPublisher final : public PassingPublisher {
public:
    using PassingPublisher::PassingPublisher;

    PublishOutcome publish(const PublishBatch& batch) override {
        if (!is_whole(batch) || batch.events.size() < 2) {
            return PassingPublisher::publish(batch);
        }
        const Event& first = batch.events.front();
        std::vector<Event> events(batch.events.begin(), batch.events.end());
        events.insert(events.begin() + 1,
                      boundary_behind(kOwner, {first.incarnation, first.version.epoch},
                                      first.version, first.time));
        PublishBatch cut = batch;
        cut.events = events;
        PublishOutcome outcome = PassingPublisher::publish(cut);
        outcome.durable -= outcome.durable > 1 ? 1 : 0;
        return outcome;
    }
};

/// Loses all of a publication now and then.
class LosingPublisher final : public PassingPublisher {
public:
    using PassingPublisher::PassingPublisher;

    PublishOutcome publish(const PublishBatch& batch) override {
        constexpr int kEvery = 3;
        if (is_whole(batch) && ++publications_ % kEvery == 0) {
            return {.durable = batch.events.size(), .failure = std::nullopt};
        }
        return PassingPublisher::publish(batch);
    }

private:
    int publications_ = 0;
};

/// Sees a boundary behind whatever was received.
class ImpatientSubscriber final : public PassingSubscriber {
public:
    using PassingSubscriber::PassingSubscriber;

    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override {
        auto deliveries = PassingSubscriber::receive(events_max, bytes_max);
        if (deliveries && !deliveries->empty()) {
            Delivery end = deliveries->back();
            end.event = boundary_behind(kOwner, {}, kNewest, {});
            deliveries->push_back(std::move(end));
        }
        return deliveries;
    }

    static constexpr Version kNewest{std::numeric_limits<std::uint32_t>::max(), 0, 0};
};

/// When it is given its partition again, goes on where it had read to.
class ForgetfulSubscriber final : public PassingSubscriber {
public:
    using PassingSubscriber::PassingSubscriber;

    Result<std::vector<Assignment>> assignments() override {
        auto assignments = PassingSubscriber::assignments();
        for (std::size_t i = 0; assignments && i < assignments->size(); ++i) {
            const Assignment& assignment = (*assignments)[i];
            const std::uint64_t before = std::exchange(epoch_, assignment.epoch);
            if (before != 0 && before != epoch_ && read_ > assignment.acknowledged) {
                INSTEP_TRY(PassingSubscriber::seek(assignment.partition, read_));
            }
        }
        return assignments;
    }

    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override {
        auto deliveries = PassingSubscriber::receive(events_max, bytes_max);
        if (deliveries && !deliveries->empty()) {
            read_ = deliveries->back().position;
        }
        return deliveries;
    }

private:
    std::uint64_t epoch_ = 0;
    Position read_ = 0;
};

/// Goes on reading where it is told to read again.
class HastySubscriber final : public PassingSubscriber {
public:
    using PassingSubscriber::PassingSubscriber;

    Result<void> seek(std::uint32_t /*partition*/, Position /*position*/) override { return {}; }
};

template <class Wrapper>
PlantedBug relay_bug(std::string_view name, std::string_view meaning) {
    return {
        .name = name,
        .meaning = meaning,
        .role = Role::kRelay,
        .publisher = [](std::unique_ptr<Publisher> inner, Database&) -> std::unique_ptr<Publisher> {
            return std::make_unique<Wrapper>(std::move(inner));
        }};
}

template <class Wrapper>
PlantedBug subscriber_bug(std::string_view name, std::string_view meaning) {
    return {.name = name,
            .meaning = meaning,
            .role = Role::kGroup,
            .subscriber = wrap_subscriber<Wrapper>()};
}

}  // namespace

std::vector<PlantedBug> group_bugs() {
    return {
        relay_bug<CuttingPublisher>("boundary_in_the_middle",
                                    "a boundary stands in the middle of a transaction"),
        relay_bug<LosingPublisher>("boundary_lost_with_its_events",
                                   "a boundary is lost with all that it ends"),
        subscriber_bug<ImpatientSubscriber>("commit_between_boundaries",
                                            "what was received is committed without a boundary"),
        subscriber_bug<EagerSubscriber>("held_events_acknowledged",
                                        "events that wait for their boundary are acknowledged"),
        subscriber_bug<ForgetfulSubscriber>(
            "held_events_forgotten",
            "who gets its partition again goes on behind what it had held"),
        subscriber_bug<HastySubscriber>(
            "large_transaction_not_read_again",
            "of a transaction that is too large to hold only the end is applied"),
        {.name = "group_commits_by_table",
         .meaning = "what is written to one table is committed before the next",
         .role = Role::kGroup,
         .edits = {{.kind = SqlEdit::Kind::kCommitAfter, .where = kGuard}}},
        {.name = "group_by_key",
         .meaning = "the group is applied key by key",
         .role = Role::kGroup,
         .consumer = [](ConsumerOptions& options) { options.unit = ApplyUnit::kKey; }},
    };
}

}  // namespace instep::simulation
