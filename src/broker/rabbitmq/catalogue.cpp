#include "catalogue.hpp"

#include "instep/event/json_writer.hpp"
#include "message.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <chrono>
#include <optional>

namespace instep::rabbitmq {

namespace {

/// Beside what others do with the link: one to look at the end, one for all else.
constexpr amqp_channel_t kChannel = 2;
constexpr amqp_channel_t kEndChannel = 5;
constexpr std::uint16_t kPrefetch = 500;

/// After this long without its last record the stream is taken for empty.
constexpr std::chrono::milliseconds kEmptyPatience{500};

amqp_table_entry_t text_entry(const char* name, std::string_view text) {
    amqp_table_entry_t entry{};
    entry.key = amqp_cstring_bytes(name);
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = bytes_of(text);
    return entry;
}

/// Records of later versions are passed over.
void add_record(std::string_view json, Catalogue& catalogue) {
    simdjson::dom::parser parser;
    simdjson::dom::element record;
    std::string_view kind;
    std::string_view name;
    if (parser.parse(simdjson::padded_string(json)).get(record) != simdjson::SUCCESS ||
        record["record"].get(kind) != simdjson::SUCCESS ||
        record["name"].get(name) != simdjson::SUCCESS) {
        return;
    }
    std::uint64_t partitions = 0;
    std::string_view topic;
    if (kind == "topic" && record["partitions"].get(partitions) == simdjson::SUCCESS) {
        catalogue.topics.emplace(name, static_cast<std::uint32_t>(partitions));
    } else if (kind == "subscription" && record["topic"].get(topic) == simdjson::SUCCESS) {
        catalogue.subscriptions.emplace(name, CatalogueSubscription{.topic = std::string(topic)});
    } else if (const auto found = catalogue.subscriptions.find(name);
               found != catalogue.subscriptions.end()) {
        found->second.has_queues = found->second.has_queues || kind == "queues";
        found->second.misses_events =
            kind == "missed" || (found->second.misses_events && kind != "queues");
    }
}

std::uint64_t offset_of(const amqp_basic_properties_t& properties) {
    for (int i = 0; i < properties.headers.num_entries; ++i) {
        const amqp_table_entry_t& entry = properties.headers.entries[i];
        if (text_of(entry.key) == "x-stream-offset") {
            return entry.value.value.u64;
        }
    }
    return 0;
}

/// Nothing after `patience`.
Result<std::optional<amqp_frame_t>> await_frame(Link& link, amqp_channel_t channel,
                                                std::chrono::milliseconds patience) {
    for (;;) {
        INSTEP_TRY_ASSIGN(const auto frame, link.next_frame(patience));
        if (!link.blocked().empty()) {
            return fail(ErrorCode::kStorageFull,
                        fmt::format("RabbitMQ takes no messages now ({}); free disk or memory "
                                    "there",
                                    link.blocked()));
        }
        if (!frame || frame->channel == channel) {
            return frame;
        }
        link.release(frame->channel);
    }
}

/// Hands each message of a consumer to `take` until that returns false. False if nothing came
/// within `patience`.
template <class Take>
Result<bool> for_each_message(Link& link, amqp_channel_t channel,
                              std::chrono::milliseconds patience, Take take) {
    Assembly message;
    std::uint64_t tag = 0;
    for (;;) {
        INSTEP_TRY_ASSIGN(const auto frame, await_frame(link, channel, patience));
        if (!frame) {
            return false;
        }
        if (frame->frame_type != AMQP_FRAME_METHOD) {
            if (message.add(*frame) == Assembly::Progress::kComplete) {
                const bool wants_more = take(message);
                INSTEP_TRY(link.acknowledge(channel, tag));
                link.release(channel);
                if (!wants_more) {
                    return true;
                }
            }
            continue;
        }
        if (frame->payload.method.id == AMQP_CHANNEL_CLOSE_METHOD) {
            Error closed = link.closed_by_server(*frame);
            INSTEP_TRY(link.open_channel(channel));
            return std::unexpected(std::move(closed));
        }
        if (frame->payload.method.id == AMQP_BASIC_DELIVER_METHOD) {
            tag = static_cast<amqp_basic_deliver_t*>(frame->payload.method.decoded)->delivery_tag;
            message.begin();
        }
    }
}

/// Whatever comes of it, the channel is free for the next.
template <class Use>
auto with_channel(Link& link, amqp_channel_t channel, Use use) -> decltype(use()) {
    // What an earlier use of the number left in the library.
    while (link.is_alive() && amqp_frames_enqueued(link.handle()) != 0) {
        INSTEP_TRY(link.next_frame(std::chrono::milliseconds(0)));
    }
    INSTEP_TRY(link.open_channel(channel));
    auto result = use();
    if (link.is_alive()) {
        INSTEP_TRY(link.close_channel(channel));
    }
    return result;
}

Result<void> append_record(Link& link, std::string_view record) {
    return with_channel(link, kChannel, [&]() -> Result<void> {
        INSTEP_TRY(link.select_confirms(kChannel));
        amqp_basic_properties_t properties{};
        properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
        properties.content_type = amqp_cstring_bytes("application/json");
        properties.delivery_mode = 2;
        INSTEP_TRY(link.publish(kChannel, "", kCatalogue, properties, record));
        INSTEP_TRY_ASSIGN(const auto frame, await_frame(link, kChannel, kPatience));
        if (frame && frame->frame_type == AMQP_FRAME_METHOD &&
            frame->payload.method.id == AMQP_BASIC_ACK_METHOD) {
            return {};
        }
        return fail(ErrorCode::kUnavailable,
                    fmt::format("stream {} did not take a record; try again", kCatalogue));
    });
}

/// The offset of the stream's last record, or of one shortly before that arrives together with
/// it. The server's own count of a stream's messages is seconds old.
Result<std::uint64_t> read_end(Link& link, std::chrono::milliseconds patience) {
    std::uint64_t end = 0;
    INSTEP_TRY_ASSIGN(
        const bool found, with_channel(link, kEndChannel, [&]() -> Result<bool> {
            INSTEP_TRY(link.limit_prefetch(kEndChannel, 1));
            INSTEP_TRY(link.consume(kEndChannel, kCatalogue, "end", Link::Acknowledge::kLater,
                                    {text_entry("x-stream-offset", "last")}));
            return for_each_message(link, kEndChannel, patience, [&](Assembly& message) {
                end = offset_of(message.properties());
                return false;
            });
        }));
    if (found) {
        return end;
    }
    if (patience == kPatience) {
        return fail(ErrorCode::kTimeout, fmt::format("stream {} did not answer within {} s",
                                                     kCatalogue, kPatience.count()));
    }
    // Empty, or slow; from now on it is not empty.
    INSTEP_TRY(append_record(link, R"({"record":"begin","name":"instep"})"));
    return read_end(link, kPatience);
}

Result<void> read_records(Link& link, std::uint64_t end, Catalogue& catalogue) {
    INSTEP_TRY(link.limit_prefetch(kChannel, kPrefetch));
    INSTEP_TRY(link.consume(kChannel, kCatalogue, "catalogue", Link::Acknowledge::kLater,
                            {text_entry("x-stream-offset", "first")}));
    std::uint64_t offset = 0;
    const auto take = [&](Assembly& message) {
        offset = offset_of(message.properties());
        add_record(message.body(), catalogue);
        return offset < end;
    };
    INSTEP_TRY_ASSIGN(const bool complete, for_each_message(link, kChannel, kPatience, take));
    if (!complete) {
        return fail(ErrorCode::kTimeout, fmt::format("stream {} did not answer within {} s",
                                                     kCatalogue, kPatience.count()));
    }
    // Records written together arrive together, and before this call's answer.
    INSTEP_TRY(link.limit_prefetch(kChannel, kPrefetch));
    INSTEP_TRY(for_each_message(link, kChannel, std::chrono::milliseconds(0), [&](Assembly& more) {
        add_record(more.body(), catalogue);
        return true;
    }));
    return {};
}

std::string named_record(std::string_view kind, std::string_view name) {
    std::string record = fmt::format(R"({{"record":"{}","name":)", kind);
    append_json_string(record, name);
    return record;
}

}  // namespace

std::vector<std::string> Catalogue::subscriptions_of(std::string_view topic) const {
    std::vector<std::string> names;
    for (const auto& [name, subscription] : subscriptions) {
        if (subscription.topic == topic) {
            names.push_back(name);
        }
    }
    return names;
}

Result<Catalogue> read_catalogue(Link& link) {
    INSTEP_TRY(with_channel(link, kChannel, [&] {
        return link.declare_queue(kChannel, kCatalogue,
                                  {.arguments = {text_entry("x-queue-type", "stream")}});
    }));
    INSTEP_TRY_ASSIGN(const std::uint64_t end, read_end(link, kEmptyPatience));
    Catalogue catalogue;
    INSTEP_TRY(with_channel(link, kChannel, [&] { return read_records(link, end, catalogue); }));
    return catalogue;
}

Result<void> add_topic(Link& link, std::string_view topic, std::uint32_t partitions) {
    return append_record(
        link, named_record("topic", topic) + fmt::format(R"(,"partitions":{}}})", partitions));
}

Result<void> add_subscription(Link& link, std::string_view subscription, std::string_view topic) {
    std::string record = named_record("subscription", subscription) + R"(,"topic":)";
    append_json_string(record, topic);
    return append_record(link, record + "}");
}

Result<void> add_queues(Link& link, std::string_view subscription) {
    return append_record(link, named_record("queues", subscription) + "}");
}

Result<void> add_missed(Link& link, std::string_view subscription) {
    return append_record(link, named_record("missed", subscription) + "}");
}

}  // namespace instep::rabbitmq
