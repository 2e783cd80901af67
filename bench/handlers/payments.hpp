// Payments that are booked on accounts: events, the handler that books them, and the same bookings
// without any of Instep. Sums, since a repeat would show in them.
#pragma once

#include "bench/postgres/server.hpp"
#include "instep/consumer/subscription.hpp"
#include "instep/event/event.hpp"
#include "instep/event/payload.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace instep::bench {

struct PaymentMade {
    static constexpr std::string_view kType = "payment.made";
    std::string account;
    std::int64_t cents = 0;
};
INSTEP_FIELDS(PaymentMade, account, cents)

/// Payment number `number`, of one of 10,000 accounts; all of them differ in id.
PaymentMade payment(std::int64_t number);

/// `count` payments from number `first` on, as they come from a broker. Each belongs to a recorded
/// trace of its own.
std::vector<Event> payment_events(std::int64_t first, std::int64_t count);

/// What all of the payments `first` to `first + count - 1` add up to.
std::int64_t sum_of_payments(std::int64_t first, std::int64_t count);

/// Makes a table for bookings.
void make_accounts(Session& session, const std::string& table);

/// Books one payment. `$1` is the account, `$2` the amount.
std::string booking_sql(const std::string& table);

/// Books each payment on the table by one statement.
HandlerSet booking_handlers(const std::string& table);

}  // namespace instep::bench
