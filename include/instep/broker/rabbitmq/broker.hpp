// A broker on a RabbitMQ server, from 3.10.
//
// Published events are confirmed by every queue that they belong to before publish() counts
// them; queues are replicated ones (quorum) unless the URL says otherwise. Each subscription
// has one queue a partition, which the broker gives to one member at a time.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/broker/broker.hpp"

#include <cstdint>
#include <memory>
#include <string_view>

namespace instep {

/// Most partitions that a topic may have; declare_topic() refuses more with
/// kInvalidArgument.
inline constexpr std::uint32_t kRabbitmqPartitionsMax = 1024;

/// Reads the URL; connects when something is first asked for.
///
///     amqp://user:password@host[:port]/vhost[?option&...]      amqps:// with TLS
///
/// User, password and vhost are percent-encoded; without them they are guest, guest and "/".
/// Options:
///
///     queue=classic     new queues are of one node only; default quorum. A queue that exists
///                       as the other kind is refused with kConflict.
///     prefetch=N        events of one partition sent ahead of acknowledgement, 1 to 10000,
///                       default 1000; no limit for who acknowledges late. Larger costs
///                       memory here, smaller costs speed.
///     history=TIME      keeps the past of the topics that are declared with it, for at least so
///                       long: 1s to 3650d in s, m, h or d; default none. Every event is written
///                       once more, into a stream beside the queues. Another time than the topic's
///                       stream was made with is refused with kConflict.
///     ca=FILE           certificates to trust; default those of the system
///     certificate=FILE, key=FILE      shown to a server that asks for them
///
/// What the port leaves to a backend:
///
/// - Nothing is kept for a subscription that does not exist: StartAt::kEarliest is kLatest.
///   A topic without any subscription takes events and drops them. Once there is one, an event
///   that reaches no queue is refused with kNotFound; with a past it always reaches the stream.
/// - rewind() and kept() work where the topic has a past, whatever this URL says, on positions of
///   the past: what was delivered from a queue cannot be gone back to by its own. kept() takes 250
///   ms, and after rewind() nothing comes for as long: the stream and the queue get an event one
///   after the other, and where that takes the server longer, an event that was just handled may be
///   left out, or one that waits be taken for past. rewind() holds until the partition changes its
///   holder.
/// - A queue that somebody deletes takes its events along. Its member then gets kNotFound until
///   it subscribes again, which makes the queue anew; until then lag() leaves the subscription
///   out.
/// - Positions rise within one assignment and over all of a partition. They end with it.
/// - Members share the partitions evenly, and look for a change of members every third of their
///   time-out. Assignment::epoch is the time of assignment in microseconds.
/// - A member that calls nothing for its time-out gives its partitions up; one that froze is
///   taken for dead by the server after about as long. Meanwhile its deliveries are kept.
/// - lag() asks the member of each partition; one that does not answer within a second counts as
///   having one event. Events that wait on the server alone have no `oldest`.
/// - Of a key one event is sent at a time, so that the server cannot refuse it and take the next.
///   A batch with few keys therefore waits for many confirms.
/// - An event's type, at most 255 bytes of it, is its routing key.
/// - While the server is short of disk or memory, publish() fails with kStorageFull.
///
/// No call waits for an answer of the server longer than 15 s. `clock` and `random` must outlive
/// the broker. Errors: kConfigInvalid.
Result<std::unique_ptr<Broker>> open_rabbitmq_broker(std::string_view url, const Clock& clock,
                                                     Random& random);

}  // namespace instep
