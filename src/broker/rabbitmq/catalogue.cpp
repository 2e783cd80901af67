#include "catalogue.hpp"

#include "instep/event/json_writer.hpp"
#include "stream.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <chrono>

namespace instep::rabbitmq {

namespace {

/// Beside what others do with the link.
constexpr amqp_channel_t kChannel = 2;
constexpr std::uint16_t kPrefetch = 500;

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
        const bool is_first =
            catalogue.topics.emplace(name, static_cast<std::uint32_t>(partitions)).second;
        if (bool is_kept = false;
            is_first && record["past"].get(is_kept) == simdjson::SUCCESS && is_kept) {
            catalogue.with_past.emplace(name);
        }
    } else if (kind == "subscription" && record["topic"].get(topic) == simdjson::SUCCESS) {
        catalogue.subscriptions.emplace(name, CatalogueSubscription{.topic = std::string(topic)});
    } else if (kind == "past_lost") {
        catalogue.with_past.erase(std::string(name));
    } else if (const auto found = catalogue.subscriptions.find(name);
               found != catalogue.subscriptions.end()) {
        found->second.has_queues = found->second.has_queues || kind == "queues";
        found->second.misses_events =
            kind == "missed" || (found->second.misses_events && kind != "queues");
    }
}

Result<void> append_record(Link& link, std::string_view record) {
    amqp_basic_properties_t properties{};
    properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
    properties.content_type = amqp_cstring_bytes("application/json");
    properties.delivery_mode = 2;
    return append_to_stream(link, kCatalogue, properties, record);
}

/// The offset of the last record.
Result<std::uint64_t> read_end(Link& link, std::chrono::milliseconds patience) {
    INSTEP_TRY_ASSIGN(const auto end, read_stream_end(link, kCatalogue, patience));
    if (end) {
        return *end;
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

Result<void> add_topic(Link& link, std::string_view topic, std::uint32_t partitions,
                       TopicPast past) {
    return append_record(
        link, named_record("topic", topic) + fmt::format(R"(,"partitions":{},"past":{}}})",
                                                         partitions, past == TopicPast::kKept));
}

Result<void> add_past_lost(Link& link, std::string_view topic) {
    return append_record(link, named_record("past_lost", topic) + "}");
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
