#include "message.hpp"

#include "instep/event/json_writer.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <optional>
#include <utility>

namespace instep::embedded_broker {

namespace {

constexpr std::string_view kDefaultContentType = "application/json";

/// The columns of kSelectMessages and, from kId on, of kInsertMessage behind `published_us`.
enum Column : std::size_t {
    kRowId,
    kId,
    kSource,
    kType,
    kKey,
    kTime,
    kVersion,
    kIncarnation,
    kOperation,
    kStream,
    kStreamVersion,
    kContentType,
    kSchema,
    kCorrelationId,
    kCausationId,
    kTraceParent,
    kExtensions,
    kData,
    kColumns,
};

std::string write_extensions(const Event& event) {
    std::string json = "{";
    for (const auto& [name, value] : event.extensions) {
        json += json.size() == 1 ? "" : ",";
        append_json_string(json, name);
        json += ':';
        append_json_string(json, value);
    }
    json += '}';
    return json;
}

Result<void> read_extensions(std::string_view json, Event& event) {
    simdjson::dom::parser parser;
    simdjson::dom::object object;
    if (parser.parse(simdjson::padded_string(json)).get(object) != simdjson::SUCCESS) {
        return fail(ErrorCode::kCorrupt, "its extensions are no JSON object");
    }
    for (const auto& [name, value] : object) {
        std::string_view text;
        if (value.get(text) != simdjson::SUCCESS) {
            return fail(ErrorCode::kCorrupt, fmt::format("its extension {} is no text", name));
        }
        event.extensions.emplace_back(name, text);
    }
    return {};
}

Result<void> read_event(const Cursor& row, Event& event) {
    INSTEP_TRY_ASSIGN(event.version, version_from_bytes(row.blob(kVersion)));
    const std::int64_t operation = row.integer(kOperation);
    if (operation < 0 || operation > std::to_underlying(Operation::kDigest)) {
        return fail(ErrorCode::kCorrupt, fmt::format("its operation is {}", operation));
    }
    event.operation = static_cast<Operation>(operation);
    event.id = row.text(kId);
    event.source = row.text(kSource);
    event.type = row.text(kType);
    event.time = Timestamp(std::chrono::microseconds(row.integer(kTime)));
    event.incarnation = static_cast<std::uint64_t>(row.integer(kIncarnation));
    event.stream = row.text(kStream);
    event.stream_version = static_cast<std::uint64_t>(row.integer(kStreamVersion));
    if (const auto content_type = row.text(kContentType); !content_type.empty()) {
        event.content_type = content_type;
    }
    event.schema = row.text(kSchema);
    event.correlation_id = row.text(kCorrelationId);
    event.causation_id = row.text(kCausationId);
    event.trace_parent = row.text(kTraceParent);
    return row.is_null(kExtensions) ? Result<void>{}
                                    : read_extensions(row.text(kExtensions), event);
}

}  // namespace

const std::string_view kInsertMessage =
    "INSERT INTO instep_message (position, published_us, id, source, type, key, time_us, "
    "version, incarnation, operation, stream, stream_version, content_type, schema, "
    "correlation_id, causation_id, trace_parent, extensions, data) VALUES ($1, $2, $3, $4, $5, "
    "$6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";

const std::string_view kSelectMessages =
    "SELECT position, id, source, type, key, time_us, version, incarnation, operation, stream, "
    "stream_version, content_type, schema, correlation_id, causation_id, trace_parent, "
    "extensions, data FROM instep_message WHERE position > $1 AND position < $2 "
    "ORDER BY position";

MessageRows::MessageRows(std::int64_t first_row_id, Timestamp published,
                         std::span<const Event> events) {
    values_.reserve(events.size() * (kColumns + 1));
    owned_.reserve(events.size() * 2);  // views point into it: it must not grow
    for (const Event& event : events) {
        append(first_row_id++, published, event);
    }
}

ParameterRows MessageRows::parameters() const {
    return {.columns = kColumns + 1, .values = values_};
}

void MessageRows::append(std::int64_t row_id, Timestamp published, const Event& event) {
    const bool is_default_type = event.content_type == kDefaultContentType;
    ValueView extensions = kNull;
    if (!event.extensions.empty()) {
        extensions = std::string_view(owned_.emplace_back(write_extensions(event)));
    }
    values_.insert(values_.end(),
                   {row_id, published.time_since_epoch().count(), std::string_view(event.id),
                    std::string_view(event.source), std::string_view(event.type),
                    std::string_view(event.key), event.time.time_since_epoch().count(),
                    BlobView{owned_.emplace_back(to_bytes(event.version))},
                    static_cast<std::int64_t>(event.incarnation),
                    std::int64_t{std::to_underlying(event.operation)},
                    std::string_view(event.stream), static_cast<std::int64_t>(event.stream_version),
                    is_default_type ? std::string_view() : std::string_view(event.content_type),
                    std::string_view(event.schema), std::string_view(event.correlation_id),
                    std::string_view(event.causation_id), std::string_view(event.trace_parent),
                    extensions, BlobView{event.data}});
}

Delivery read_message(const Cursor& row, std::uint32_t partition) {
    Delivery delivery{.partition = partition,
                      .position = offset_of(row.integer(kRowId)),
                      .event = {},
                      .malformed = {}};
    delivery.event.key = row.text(kKey);
    delivery.event.data = row.blob(kData);
    if (auto read = read_event(row, delivery.event); !read) {
        delivery.malformed = Error{ErrorCode::kCorrupt,
                                   fmt::format("message {} of partition {} is no event: {}",
                                               delivery.position, partition, read.error().message)};
    }
    return delivery;
}

}  // namespace instep::embedded_broker
