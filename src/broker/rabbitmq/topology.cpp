#include "topology.hpp"

#include "instep/broker/rabbitmq/broker.hpp"
#include "message.hpp"
#include "stream.hpp"

#include <fmt/format.h>

#include <vector>

namespace instep::rabbitmq {

namespace {

/// Room for what is put behind a topic's or a subscription's name.
constexpr std::size_t kNameBytesMax = kShortBytesMax - 20;

/// The server deletes a stream by whole segments, once the next one is begun.
constexpr std::int64_t kSegmentBytes = 16'000'000;

/// From version 4 on a quorum queue drops what came back 20 times, as after 20 lost
/// connections; nothing here may drop.
constexpr std::int32_t kDeliveriesMax = 1'000'000'000;

Result<void> check_name(std::string_view what, std::string_view name) {
    if (name.empty() || name.size() > kNameBytesMax || !fits_attribute(name) ||
        name.starts_with("amq.")) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{} \"{}\": RabbitMQ takes names of 1 to {} bytes that do not "
                                "begin with amq.",
                                what, name.substr(0, kNameBytesMax), kNameBytesMax));
    }
    return {};
}

amqp_table_entry_t entry(const char* name) {
    amqp_table_entry_t entry{};
    entry.key = amqp_cstring_bytes(name);
    return entry;
}

QueueSettings queue_settings(QueueKind kind) {
    QueueSettings settings;
    const amqp_table_entry_t type =
        text_entry("x-queue-type", kind == QueueKind::kQuorum ? "quorum" : "classic");
    amqp_table_entry_t single = entry("x-single-active-consumer");
    single.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    single.value.value.boolean = 1;
    settings.arguments = {type, single};
    if (kind == QueueKind::kQuorum) {
        amqp_table_entry_t limit = entry("x-delivery-limit");
        limit.value.kind = AMQP_FIELD_KIND_I32;
        limit.value.value.i32 = kDeliveriesMax;
        settings.arguments.push_back(limit);
    }
    return settings;
}

Result<void> declare_partition(Link& link, std::string_view topic, std::uint32_t partition) {
    auto declared = link.declare_exchange(kControlChannel, partition_exchange(topic, partition),
                                          ExchangeKind::kFanout);
    if (!declared && declared.error().code == ErrorCode::kConflict) {
        declared.error().message +=
            "; if an earlier build made it, stop the services that use the topic, delete it (no "
            "event is kept in it) and start them again";
    }
    return declared;
}

Result<void> declare_stream(Link& link, const Address& address, std::string_view topic,
                            std::uint32_t partition) {
    const std::string stream = past_name(topic, partition);
    const std::string age = fmt::format("{}s", address.history.count());
    amqp_table_entry_t segment = entry("x-stream-max-segment-size-bytes");
    segment.value.kind = AMQP_FIELD_KIND_I64;
    segment.value.value.i64 = kSegmentBytes;
    auto declared = link.declare_queue(kControlChannel, stream,
                                       {.arguments = {text_entry("x-queue-type", "stream"),
                                                      text_entry("x-max-age", age), segment}});
    if (!declared) {
        if (declared.error().code == ErrorCode::kConflict) {
            declared.error().message += fmt::format(
                "; it was made with another history than {} s: write that one into the URL, or "
                "delete the stream, with the past that it keeps",
                address.history.count());
        }
        return std::unexpected(std::move(declared).error());
    }
    return link.bind_queue(kControlChannel, stream, partition_exchange(topic, partition));
}

Result<void> declare_past(Link& link, const Address& address, std::string_view topic,
                          std::uint32_t partitions, const Catalogue& before) {
    for (std::uint32_t partition = 0; partition < partitions; ++partition) {
        if (before.with_past.contains(topic)) {
            const auto state = link.inspect_queue(kControlChannel, past_name(topic, partition));
            if (!state && state.error().code == ErrorCode::kNotFound) {
                // Deleted, or not made in time: what it begins with is not the topic's first event.
                INSTEP_TRY(add_past_lost(link, topic));
            }
        }
        INSTEP_TRY(declare_stream(link, address, topic, partition));
    }
    return {};
}

Result<void> declare_queues(Link& link, const Address& address, std::string_view subscription,
                            std::string_view topic, std::uint32_t partitions) {
    const QueueSettings settings = queue_settings(address.queue_kind);
    for (std::uint32_t partition = 0; partition < partitions; ++partition) {
        const std::string queue = queue_name(subscription, partition);
        INSTEP_TRY(link.declare_queue(kControlChannel, queue, settings));
        // Whoever declares the topic may not be as far yet.
        INSTEP_TRY(declare_partition(link, topic, partition));
        INSTEP_TRY(link.bind_queue(kControlChannel, queue, partition_exchange(topic, partition)));
    }
    return {};
}

/// A queue that is missing is left out: whoever reads it is told, and makes it anew.
Result<void> bind_queues(Link& link, std::string_view subscription, std::string_view topic,
                         std::uint32_t partitions) {
    for (std::uint32_t partition = 0; partition < partitions; ++partition) {
        const auto bound = link.bind_queue(kControlChannel, queue_name(subscription, partition),
                                           partition_exchange(topic, partition));
        if (!bound && bound.error().code != ErrorCode::kNotFound) {
            return bound;
        }
    }
    return {};
}

}  // namespace

std::string partition_exchange(std::string_view topic, std::uint32_t partition) {
    return fmt::format("{}.p{}", topic, partition);
}

std::string past_name(std::string_view topic, std::uint32_t partition) {
    return fmt::format("{}.p{}.past", topic, partition);
}

std::string queue_name(std::string_view subscription, std::uint32_t partition) {
    return fmt::format("{}.{}", subscription, partition);
}

std::string holder_name(std::string_view subscription, std::uint32_t partition) {
    return fmt::format("{}.{}.holder", subscription, partition);
}

std::string members_name(std::string_view subscription) {
    return fmt::format("{}.members", subscription);
}

std::string seat_name(std::string_view subscription, std::size_t seat) {
    return fmt::format("{}.seat.{}", subscription, seat);
}

Result<void> open_control(Link& link) { return link.open_channel(kControlChannel); }

Result<void> declare_topic(Link& link, const Address& address, std::string_view topic,
                           std::uint32_t partitions) {
    INSTEP_TRY(check_name("topic", topic));
    if (partitions == 0 || partitions > kRabbitmqPartitionsMax) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("topic {} with {} partitions: 1 to {} are possible", topic,
                                partitions, kRabbitmqPartitionsMax));
    }
    const bool keeps_past = address.history > std::chrono::seconds(0);
    INSTEP_TRY_ASSIGN(Catalogue catalogue, read_catalogue(link));
    const Catalogue before = catalogue;
    if (!catalogue.topics.contains(topic)) {
        INSTEP_TRY(add_topic(link, topic, partitions,
                             keeps_past ? TopicPast::kKept : TopicPast::kNotKept));
        // Another may have been first, and a subscription may have been added since.
        INSTEP_TRY_ASSIGN(catalogue, read_catalogue(link));
    }
    const auto standing = catalogue.topics.find(topic);
    if (standing != catalogue.topics.end() && standing->second != partitions) {
        return fail(ErrorCode::kConflict,
                    fmt::format("topic {} exists with {} partitions, not {}; use another name or "
                                "the same number",
                                topic, standing->second, partitions));
    }
    INSTEP_TRY(link.declare_exchange(kControlChannel, topic, ExchangeKind::kTopic));
    for (std::uint32_t partition = 0; partition < partitions; ++partition) {
        INSTEP_TRY(declare_partition(link, topic, partition));
        INSTEP_TRY(
            link.bind_exchange(kControlChannel, topic, partition_exchange(topic, partition)));
    }
    if (keeps_past) {
        INSTEP_TRY(declare_past(link, address, topic, partitions, before));
    }
    for (const auto& [name, subscription] : catalogue.subscriptions) {
        if (subscription.topic != topic) {
            continue;
        }
        if (subscription.has_queues) {
            INSTEP_TRY(bind_queues(link, name, topic, partitions));
            continue;
        }
        INSTEP_TRY(declare_queues(link, address, name, topic, partitions));
        INSTEP_TRY(add_queues(link, name));
    }
    return {};
}

Result<void> declare_subscription(Link& link, const Address& address, std::string_view subscription,
                                  std::string_view topic) {
    INSTEP_TRY(check_name("subscription", subscription));
    INSTEP_TRY(check_name("topic", topic));
    INSTEP_TRY_ASSIGN(Catalogue catalogue, read_catalogue(link));
    if (!catalogue.subscriptions.contains(subscription)) {
        INSTEP_TRY(add_subscription(link, subscription, topic));
        INSTEP_TRY_ASSIGN(catalogue, read_catalogue(link));
    }
    const auto standing = catalogue.subscriptions.find(subscription);
    if (standing == catalogue.subscriptions.end()) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("stream {} lost a record just written; try again", kCatalogue));
    }
    if (standing->second.topic != topic) {
        return fail(ErrorCode::kConflict,
                    fmt::format("subscription {} reads topic {}, not {}; use another name",
                                subscription, standing->second.topic, topic));
    }
    const auto partitions = catalogue.topics.find(topic);
    if (partitions == catalogue.topics.end()) {
        return {};
    }
    INSTEP_TRY(declare_queues(link, address, subscription, topic, partitions->second));
    const bool is_well = standing->second.has_queues && !standing->second.misses_events;
    return is_well ? Result<void>{} : add_queues(link, subscription);
}

}  // namespace instep::rabbitmq
