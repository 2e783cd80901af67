// A broker on a Redis server of version 7 or later: one stream a partition, one consumer group a
// subscription.
//
// An event is durable when the server has answered, as far as its own settings make it so:
// `appendfsync everysec`, its default with the append-only file on, survives the end of the
// server's process and loses up to a second when the machine loses power. examine() says what
// the server is set to. See docs/adr/0014-redis-streams.md for names, formats and failure modes.
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
/// kInvalidArgument, and topics whose name holds braces or control characters.
inline constexpr std::uint32_t kRedisPartitionsMax = 1024;

/// Opens a broker at `redis://[[user]:password@]host[:port][/database][?options]`, or `rediss://`
/// for TLS, whose certificate is checked against the host's name. `clock` and `random` must
/// outlive the broker. Options, each once, joined with '&':
///
///     protocol=2|3       the version of the protocol; 3 if left out
///     prefix=NAME        what the names of our keys begin with; "instep" if left out
///     replicas=N         0 to 10: publish() waits until so many replicas have the events too
///     notify=pubsub      each event is also published, in the same transaction, to the channel of
///                        its stream's name, as JSON: for listeners that can miss some
///     timeout=MS         100 to 60000: how long a connection or an answer may take; 5000
///     ca=FILE            for TLS: trust these certificates and not the system's
///     cert=FILE, key=FILE  for TLS: what this client shows of itself
///
/// The server is asked before this returns, but it may be away, now and later: calls then fail
/// with kUnavailable, and the next ones connect again, after growing pauses.
///
/// A subscription to a topic that does not exist yet starts at the topic's beginning, also with
/// StartAt::kLatest. seek() lasts as long as the member holds the partition. A new member with
/// the name of an earlier one takes its place at once. Positions are the stream's entry ids:
/// milliseconds in the upper 44 bits, the number within the millisecond in the lower 20.
/// trim() waits for consumer groups of other programs too, and may leave up to a hundred
/// events that it could delete.
///
/// Errors: kConfigInvalid for a URL that is none of these; kPermissionDenied for a refused login;
/// kUnsupported for a server before version 7 or one of a cluster.
Result<std::unique_ptr<Broker>> open_redis_broker(std::string_view url, const Clock& clock,
                                                  Random& random);

}  // namespace instep
