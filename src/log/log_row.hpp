// One row of instep_log on its way to an Event.
#pragma once

#include "instep/db/connection.hpp"
#include "instep/db/dialect.hpp"
#include "instep/event/event.hpp"
#include "instep/log/log.hpp"

#include <cstdint>
#include <string_view>

namespace instep {

/// The columns that read_log_row() expects, in its order.
inline constexpr std::string_view kLogColumns =
    "seq, topic, key, type, operation, time_us, id, stream, stream_version, content_type, schema, "
    "correlation_id, causation_id, trace_parent, data";

/// The same on PostgreSQL, where data that is no text stands in a column of its own.
inline constexpr std::string_view kPostgresLogColumns =
    "seq, topic, key, type, operation, time_us, id, stream, stream_version, content_type, schema, "
    "correlation_id, causation_id, trace_parent, data, bytes";

inline constexpr std::size_t kPostgresLogColumnCount = 16;

std::string_view log_columns(const Dialect& dialect);

inline constexpr std::size_t kLogColumnSeq = 0;
inline constexpr std::size_t kLogColumnTopic = 1;
inline constexpr std::size_t kLogColumnKey = 2;

/// A row's key may be anything; the key of an event is an attribute. One that is empty, or too
/// long, or holds control characters, stands there in hexadecimal digits.
std::string event_key(std::string_view key);

Event read_log_row(const Cursor& row, const LogIdentity& identity, std::string_view service);

}  // namespace instep
