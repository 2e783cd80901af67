// An event as a row of instep_message, both ways.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/db/connection.hpp"
#include "instep/event/event.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep::embedded_broker {

/// The row id of the message at `offset` in `slot`. Offsets count from 1, so that
/// row_id(slot, 0) stands before the slot's first message and behind all of earlier slots.
constexpr std::int64_t row_id(std::int64_t slot, Position offset) {
    return (slot << 40) + static_cast<std::int64_t>(offset);
}

constexpr Position offset_of(std::int64_t row_id) {
    return static_cast<Position>(row_id) & ((Position{1} << 40) - 1);
}

/// SQL for the highest position before everything that `slot` still holds.
inline constexpr std::string_view kBeforeKept =
    "(coalesce((SELECT min(position) - (slot.id << 40) FROM instep_message WHERE position > "
    "slot.id << 40 AND position < (slot.id + 1) << 40), slot.next_offset) - 1)";

/// Inserts one of MessageRows.
extern const std::string_view kInsertMessage;

/// Reads the messages with row ids greater than $1 and smaller than $2 for read_message().
extern const std::string_view kSelectMessages;

/// Parameters for kInsertMessage; borrows from the events.
class MessageRows {
public:
    MessageRows(std::int64_t first_row_id, Timestamp published, std::span<const Event> events);

    [[nodiscard]] ParameterRows parameters() const;

private:
    void append(std::int64_t row_id, Timestamp published, const Event& event);

    std::vector<ValueView> values_;
    std::vector<std::string> owned_;
};

/// The current row of kSelectMessages. A row that is no event becomes a malformed delivery.
Delivery read_message(const Cursor& row, std::uint32_t partition);

}  // namespace instep::embedded_broker
