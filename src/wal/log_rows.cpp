#include "log_rows.hpp"

#include "instep/base/bytes.hpp"

#include <charconv>

namespace instep::wal {

void LogRows::place_columns(const pgoutput::Relation& relation) {
    places_.clear();
    for (std::size_t i = 0; i < relation.columns.size(); ++i) {
        places_.emplace(relation.columns[i].name, i);
    }
}

std::string LogRows::text(pgoutput::Tuple row, std::string_view column) const {
    const auto place = places_.find(column);
    return place == places_.end() || place->second >= row.size()
               ? std::string()
               : std::string(row[place->second].bytes);
}

bool LogRows::is_null(pgoutput::Tuple row, std::string_view column) const {
    const auto place = places_.find(column);
    return place == places_.end() || place->second >= row.size() ||
           row[place->second].kind == pgoutput::FieldKind::kNull;
}

std::int64_t LogRows::integer(pgoutput::Tuple row, std::string_view column) const {
    const std::string digits = text(row, column);
    std::int64_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return number;
}

Result<TopicEvent> LogRows::inserted(const pgoutput::Insert& change, const LogIdentity& identity,
                                     std::string_view service) const {
    const pgoutput::Tuple row = change.row;
    TopicEvent made;
    made.topic = text(row, "topic");
    Event& event = made.event;
    event.source = service;
    event.key = text(row, "key");
    event.type = text(row, "type");
    event.operation = static_cast<Operation>(integer(row, "operation"));
    event.time = Timestamp{std::chrono::microseconds{integer(row, "time_us")}};
    event.id = is_null(row, "id")
                   ? derived_event_id(identity, static_cast<std::uint64_t>(integer(row, "seq")),
                                      event.time)
                   : text(row, "id");
    event.stream = text(row, "stream");
    event.stream_version = static_cast<std::uint64_t>(integer(row, "stream_version"));
    if (!is_null(row, "content_type")) {
        event.content_type = text(row, "content_type");
    }
    event.schema = text(row, "schema");
    event.correlation_id = text(row, "correlation_id");
    event.causation_id = text(row, "causation_id");
    event.trace_parent = text(row, "trace_parent");
    if (!is_null(row, "data")) {
        event.data = text(row, "data");
    } else if (!is_null(row, "bytes")) {
        INSTEP_TRY_ASSIGN(event.data, from_hex(text(row, "bytes").substr(2)));
    }
    return made;
}

}  // namespace instep::wal
