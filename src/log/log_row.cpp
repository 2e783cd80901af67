#include "log_row.hpp"

#include "instep/base/bytes.hpp"
#include "instep/base/uuid.hpp"

#include <fmt/format.h>

#include <string>

namespace instep {

std::string_view log_columns(const Dialect& dialect) {
    return dialect.name() == "postgres" ? kPostgresLogColumns : kLogColumns;
}

std::string derived_event_id(const LogIdentity& identity, std::uint64_t seq, Timestamp time) {
    std::string origin;
    origin.reserve(16);
    append_big_endian(origin, identity.incarnation);
    append_big_endian(origin, seq);
    const std::uint64_t low = key_hash(origin);
    return uuid_v7_from(time, low >> 52U, key_hash(to_hex(origin)));
}

std::string event_key(std::string_view key) {
    constexpr std::string_view kMark = "hex:";
    constexpr std::size_t kBytesShown = kEventAttributeBytesMax / 4;
    if (!key.empty() && !key.starts_with(kMark) && fits_attribute(key)) {
        return std::string(key);
    }
    std::string text(kMark);
    text += to_hex(key.substr(0, kBytesShown));
    return key.size() <= kBytesShown ? text : fmt::format("{}:{:016x}", text, key_hash(key));
}

Event read_log_row(const Cursor& row, const LogIdentity& identity, std::string_view service) {
    const auto text = [&row](std::size_t column) { return std::string(row.text(column)); };
    Event event;
    const auto seq = static_cast<std::uint64_t>(row.integer(kLogColumnSeq));
    event.source = service;
    event.key = event_key(row.text(kLogColumnKey));
    event.type = text(3);
    event.operation = static_cast<Operation>(row.integer(4));
    event.time = Timestamp{std::chrono::microseconds{row.integer(5)}};
    event.id = row.is_null(6) ? derived_event_id(identity, seq, event.time) : text(6);
    event.version = Version{identity.epoch, seq, 0};
    event.incarnation = identity.incarnation;
    event.stream = text(7);
    event.stream_version = static_cast<std::uint64_t>(row.integer(8));
    if (!row.is_null(9)) {
        event.content_type = text(9);
    }
    event.schema = text(10);
    event.correlation_id = text(11);
    event.causation_id = text(12);
    event.trace_parent = text(13);
    // Triggers and plain SQL write texts, the library bytes.
    const bool is_text = std::holds_alternative<std::string_view>(row.at(14));
    event.data = is_text ? row.text(14) : row.blob(row.is_null(14) ? 15 : 14);
    return event;
}

}  // namespace instep
