// One row of instep_log on its way to an Event.
#pragma once

#include "instep/db/connection.hpp"
#include "instep/event/event.hpp"
#include "instep/log/log.hpp"

#include <cstdint>
#include <string_view>

namespace instep {

/// The columns that read_log_row() expects, in its order.
inline constexpr std::string_view kLogColumns =
    "seq, topic, key, type, operation, time_us, id, stream, stream_version, content_type, schema, "
    "correlation_id, causation_id, trace_parent, data";

inline constexpr std::size_t kLogColumnSeq = 0;
inline constexpr std::size_t kLogColumnTopic = 1;
inline constexpr std::size_t kLogColumnKey = 2;

Event read_log_row(const Cursor& row, const LogIdentity& identity, std::string_view service);

/// The id of an event that was appended without one: the same at every reading.
std::string derived_event_id(const LogIdentity& identity, std::uint64_t seq, Timestamp time);

}  // namespace instep
