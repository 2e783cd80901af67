// What this backend makes on a server, by name:
//
//     <topic>                   topic exchange: every event of the topic, for other programs
//     <topic>.p<N>              fanout exchange of partition N, bound to <topic>
//     <topic>.p<N>.past         stream of what came to partition N, if the topic's past is kept
//     <subscription>.<N>        queue of partition N, bound to <topic>.p<N>
//     <subscription>.<N>.holder exclusive queue: its connection holds partition N
//     <subscription>.members    queue whose consumers are the members
//     <subscription>.seat.<N>   exclusive queue: its connection is member number N
//     instep.catalogue          stream with the topics and subscriptions there are
#pragma once

#include "address.hpp"
#include "catalogue.hpp"
#include "link.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace instep::rabbitmq {

std::string partition_exchange(std::string_view topic, std::uint32_t partition);
std::string past_name(std::string_view topic, std::uint32_t partition);
std::string queue_name(std::string_view subscription, std::uint32_t partition);
std::string holder_name(std::string_view subscription, std::uint32_t partition);
std::string members_name(std::string_view subscription);
std::string seat_name(std::string_view subscription, std::size_t seat);

/// What is said of a queue that stood once.
inline constexpr std::string_view kQueueIsMissing =
    "is missing, with the events it held: somebody deleted it, or the server lost it";

/// What is to be done about it.
inline constexpr std::string_view kMakeQueueAnew =
    "start the service that reads it again, which makes it anew, then `instep verify`";

/// What is said of a subscription whose queue others have that it lacks.
inline constexpr std::string_view kMissesEvents =
    "misses events that were published: a binding of its queue was removed, or somebody took them "
    "out of it";
inline constexpr std::string_view kFillAgain =
    "start the service that reads it again, which has its replica filled again, then `instep "
    "verify`";

/// The channel for what is done one at a time.
inline constexpr amqp_channel_t kControlChannel = 1;

/// Opens kControlChannel. Errors: those of Link.
Result<void> open_control(Link& link);

/// Makes the topic's exchanges, and the streams of its past if the address wants it kept, and binds
/// what queues there are for it: an exchange that was deleted took its bindings along. Errors:
/// kInvalidArgument for a name or number out of bounds; kConflict if the topic has another number
/// of partitions, an exchange is of another type, or a past is kept for another time; those of
/// Link.
Result<void> declare_topic(Link& link, const Address& address, std::string_view topic,
                           std::uint32_t partitions);

/// Makes the queues of a subscription, as far as its topic is known. Errors: kInvalidArgument;
/// kConflict if the subscription reads another topic, or a queue is of another kind; those of
/// Link.
Result<void> declare_subscription(Link& link, const Address& address, std::string_view subscription,
                                  std::string_view topic);

}  // namespace instep::rabbitmq
