// An order: what its events make of it, and which event may come next.
#pragma once

#include "events.hpp"

#include <instep/base/error.hpp>
#include <instep/db/connection.hpp>
#include <instep/event/event.hpp>
#include <instep/log/log.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orders {

/// The state that the events of one stream add up to.
struct Order {
    std::string id;
    std::string customer_id;
    std::int64_t total_cents = 0;
    std::string currency;

    /// "created", "paid" or "shipped"; empty before the first event.
    std::string status;

    /// Of the newest event in the stream; 0 before the first.
    std::uint64_t version = 0;
};

/// Takes the event into the order. Errors: kSchemaMismatch for an event that this program does not
/// know; those of from_payload().
instep::Result<void> evolve(Order& order, const instep::Event& event);

/// Which release's events are written.
enum class Release : std::uint8_t { kFirst, kSecond };

/// Decisions: the event that comes next. Errors: kConflict if the order's state does not allow it,
/// kNotFound if there is no such order, kInvalidArgument for a total that is not above 0, or a
/// currency that the release does not know.
instep::Result<instep::NewEvent> create(const Order& order, const OrderCreated& created,
                                        Release release);
instep::Result<instep::NewEvent> pay(const Order& order);
instep::Result<instep::NewEvent> ship(const Order& order, std::optional<std::string> tracking_code);

/// The events of the order's stream, oldest first.
instep::Result<std::vector<instep::Event>> read_history(instep::Transaction& transaction,
                                                        std::string_view order_id);

/// The order as its stream has it: its snapshot, and the events behind that. Without a snapshot, or
/// if that was made by other rules, all events. Errors: as evolve() and read_history().
instep::Result<Order> load(instep::Transaction& transaction, const std::string& order_id);

/// Appends the order's next event, which goes to the event store and to others by one row, and
/// brings the table `orders`, which is the order's snapshot, up to it. Errors: kConflict if the
/// stream has moved on since the order was loaded; those of Connection.
instep::Result<Order> append(instep::Transaction& transaction, Order order, instep::NewEvent event);

}  // namespace orders
