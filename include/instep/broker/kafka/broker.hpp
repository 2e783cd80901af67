// Apache Kafka as the broker: one Kafka topic for each topic of ours, one consumer group for
// each subscription.
//
// A published event is acknowledged by all in-sync replicas of its partition before publish()
// returns, in order, also through retries. A subscription's members are members of a consumer
// group with cooperative rebalancing; a partition changes hands when what was delivered of it
// is acknowledged. Positions are Kafka's offsets plus one.
#pragma once

#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

namespace instep {

/// Most partitions that a topic may have; declare_topic() refuses more with
/// kInvalidArgument.
inline constexpr std::uint32_t kKafkaPartitionsMax = 4096;

/// A topic without messages. The group of a subscription to a topic that does not exist yet
/// is remembered by an offset of it, which Kafka keeps only for topics that exist.
inline constexpr std::string_view kKafkaMarkerTopic = "instep.subscriptions";

/// Where a server that does not answer is given up.
struct KafkaOptions {
    /// How long publish() waits for confirmations, 1 to 60 s. Longer rides out a change of a
    /// partition's leader; above a relay's lease, two relays may publish the same for a while.
    std::chrono::milliseconds publish_timeout{8'000};

    /// How long any other request may take, 1 to 60 s.
    std::chrono::milliseconds request_timeout{5'000};
};

/// Makes a broker of `kafka://host:port[,host:port…][?name=value[&name=value…]]` and connects
/// to nothing: a server that is not there is an error of the calls that need it. Values may be
/// percent-encoded. Options of the client library go through, never into a message: those that
/// begin with "security.", "sasl.", "ssl.", "socket.", "client.", "broker.", "queued.",
/// "fetch.", "compression." or "reconnect.". A login is sasl.username and sasl.password with
/// sasl.mechanism=SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN and security.protocol=sasl_ssl. Of our own
/// there are
///
///     replication=N      copies of the topics that it makes; without it what the server says
///     cleanup=compact    topics that it makes keep the newest event of each key for ever;
///                        features().compacts
///     static_members=on  a member that comes back under its name within its time-out finds its
///                        partitions as they were, and one that leaves is waited for
///
/// What the port leaves open:
/// - features().fences_publishers is false: Kafka's idempotence lasts for a connection, and a
///   relay that was paused may publish once more. Consumers drop what it repeats.
/// - last_published() reads back from the partition's end. It forgets what Kafka has deleted.
/// - declare_topic() sets `max.message.bytes` so that every valid event fits. On a topic with
///   less, larger events are refused with kLimitExceeded.
/// - A member with undelivered acknowledgements keeps its partitions for `member_timeout` when
///   yet another member comes or goes; then it is fenced. `member_timeout` must not be below
///   the server's `group.min.session.timeout.ms`, 6 s as Kafka comes.
/// - Kafka deletes events by age, acknowledged or not. A subscription that comes too late gets
///   kCorrupt from receive() until its group's offsets are reset; nothing is skipped silently.
///   A group without members for the server's `offsets.retention.minutes` is forgotten.
/// - A subscription to a topic that does not exist yet starts at the topic's beginning, also
///   with StartAt::kLatest. seek() lasts as long as the member holds the partition.
/// - lag() counts offsets, and so those that compaction has removed. Of a topic it tells every
///   consumer group that has read it; without a topic, the groups of subscriptions only.
/// - Foreign messages are read as CloudEvents in binary mode (headers "ce_…") and structured
///   mode. A binary one without `partitionkey` and `subject` gets its Kafka key as the key.
///
/// Errors: kConfigInvalid for a URL or an option that is wrong.
Result<std::unique_ptr<Broker>> open_kafka_broker(std::string_view url, KafkaOptions options = {});

}  // namespace instep
