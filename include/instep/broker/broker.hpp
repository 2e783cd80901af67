// The broker port: topics divided into partitions, events in order within each.
//
// Publishing tells which prefix is durable; a subscription's members share the partitions,
// get each event at least once, in order, and acknowledge positions. Order, deduplication
// and parking rest on the versions and inboxes above this port, not on a broker's options.
#pragma once

#include "instep/base/error.hpp"
#include "instep/broker/features.hpp"
#include "instep/broker/position.hpp"
#include "instep/event/event.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// Events of one partition in publishing order.
struct PublishBatch {
    std::string_view topic;
    std::uint32_t partition = 0;
    std::span<const Event> events;

    /// The publisher's lease epoch. A backend with `fences_publishers` refuses lower ones
    /// than it has seen on this partition.
    std::uint64_t fencing_epoch = 0;
};

/// How far a batch got.
struct PublishOutcome {
    /// How many events, counted from the first, are durable at the broker. Events behind
    /// them may be too: publish them again, consumers drop the repeat.
    std::size_t durable = 0;

    /// Why the rest is not; kFenced means stop, a retryable code means try again later,
    /// kLimitExceeded or kRejected mean that event number `durable` itself is refused.
    std::optional<Error> failure;
};

/// What the broker knows about the last event of a partition.
struct LastPublished {
    std::uint64_t incarnation = 0;
    Version version;
};

/// For one thread at a time.
class Publisher {
public:
    virtual ~Publisher() = default;

    /// Creates the topic if it does not exist. Errors: kConflict if it exists with another
    /// number of partitions; kUnavailable.
    virtual Result<void> declare_topic(std::string_view topic, std::uint32_t partitions) = 0;

    /// Publishes and waits until each event is confirmed or refused.
    virtual PublishOutcome publish(const PublishBatch& batch) = 0;

    /// Nothing if the partition never got an event from `source`. Errors: kUnavailable;
    /// kUnsupported without `remembers_last_version`.
    virtual Result<std::optional<LastPublished>> last_published(std::string_view topic,
                                                                std::uint32_t partition,
                                                                std::string_view source) = 0;
};

/// One event as it arrived.
struct Delivery {
    std::uint32_t partition = 0;
    Position position = 0;
    Event event;

    /// Why the message is no event. `event.data` then holds its bytes and `event.key` the
    /// broker's key if it had one.
    std::optional<Error> malformed;
};

/// A partition that this member holds. `epoch` rises with every change of holder.
struct Assignment {
    std::uint32_t partition = 0;
    std::uint64_t epoch = 0;

    /// The position up to which the subscription has acknowledged; deliveries start behind.
    Position acknowledged = 0;
};

/// One member of a subscription. For one thread at a time.
class Subscriber {
public:
    virtual ~Subscriber() = default;

    /// The partitions held now. Takes free ones, renews the rest, and gives up what another
    /// member should hold, but none that still has deliveries which were neither
    /// acknowledged nor forgotten by seek(). Errors: kUnavailable.
    virtual Result<std::vector<Assignment>> assignments() = 0;

    /// The next events of the partitions held, in order within each; empty when there are
    /// none. At most `events_max` and, beyond the first event, `bytes_max`. A backend may hold
    /// back while 1000 events of a partition or more are delivered and not acknowledged, unless
    /// SubscribeOptions::acknowledges_late.
    virtual Result<std::vector<Delivery>> receive(std::size_t events_max,
                                                  std::size_t bytes_max) = 0;

    /// Everything of the partition up to and including `position` is done. A server may get to know
    /// it a moment later, by itself; what it says against it is then told by a later call. Errors:
    /// kFenced if the partition is no longer held; kUnavailable.
    virtual Result<void> acknowledge(std::uint32_t partition, Position position) = 0;

    /// Delivers the partition again from behind `position`, which must be one that was
    /// delivered or acknowledged. Errors: kFenced; kUnavailable.
    virtual Result<void> seek(std::uint32_t partition, Position position) = 0;

    /// Takes the subscription itself back in a partition that is held and of which nothing is
    /// delivered and unacknowledged: what stands behind `position` is unacknowledged again, for
    /// whoever holds the partition (with Rewinds::kWhileHeld: for this member), and kept from
    /// trim(). `position` is one that Broker::kept() names or lies between, or, with
    /// `stable_positions`, any that was acknowledged.
    ///
    /// Errors: kNotFound if some of it has been deleted; kInvalidArgument for a position that was
    /// never acknowledged; kFenced; kUnavailable; kUnsupported where the backend cannot.
    virtual Result<void> rewind(std::uint32_t /*partition*/, Position /*position*/) {
        return fail(ErrorCode::kUnsupported, "this broker keeps no past events");
    }

    /// Returns when there may be something to receive, after `patience`, or on stop.
    virtual void wait(std::stop_token stop, std::chrono::milliseconds patience) = 0;
};

/// Where a new subscription begins.
enum class StartAt : std::uint8_t { kEarliest, kLatest };

struct SubscribeOptions {
    /// Unique among a broker's subscriptions; members of the same name share the events.
    std::string subscription;

    /// The one topic that the subscription reads; it need not exist yet.
    std::string topic;

    /// Unique among the subscription's members.
    std::string member;

    /// Only for a subscription that does not exist yet.
    StartAt start_at = StartAt::kEarliest;

    /// How long a silent member keeps its partitions, 1 to 300 s.
    std::chrono::milliseconds member_timeout{10'000};

    /// The member waits for what ends a group of events before it acknowledges them, however many
    /// they are; nothing may be held back from it. Costs a server that keeps track of what is
    /// unacknowledged memory for as many.
    bool acknowledges_late = false;
};

/// A connection to one broker. Safe to call from any thread; must outlive what it makes.
class Broker {
public:
    virtual ~Broker() = default;

    [[nodiscard]] virtual BrokerFeatures features() const = 0;

    /// The URL without secrets, for messages.
    [[nodiscard]] virtual std::string_view display_url() const = 0;

    virtual Result<std::unique_ptr<Publisher>> publisher() = 0;

    /// Makes the subscription if it is new, durably, before it returns: events published
    /// later are kept for it. A topic that does not exist yet is waited for.
    virtual Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) = 0;

    /// All subscriptions of the topic, or of all topics when `topic` is empty.
    virtual Result<std::vector<SubscriptionLag>> lag(std::string_view topic) = 0;

    /// What the topic's partitions hold; empty if there is no such topic. Errors: kUnavailable;
    /// kUnsupported where Subscriber::rewind() cannot either.
    virtual Result<std::vector<KeptEvents>> kept(std::string_view /*topic*/) {
        return fail(ErrorCode::kUnsupported, "this broker keeps no past events");
    }

    /// Deletes events that every subscription has acknowledged and that were published
    /// before `before`. Returns how many. A backend that trims by itself returns 0.
    virtual Result<std::uint64_t> trim(Timestamp before) = 0;

    /// Looks at the server for what weakens the promises above or will stop a flow: settings
    /// of durability, missing rights, alarms, objects with other settings. Changes nothing.
    /// Errors: kUnavailable, kPermissionDenied if nothing can be looked at.
    virtual Result<std::vector<BrokerFinding>> examine() { return std::vector<BrokerFinding>{}; }
};

}  // namespace instep
