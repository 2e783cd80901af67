// An application of the owner that changes several tables in each transaction: orders, their lines
// and their customers. Whatever it does, an order's total is that of its lines and a customer owes
// what the orders come to; and no line is without its order, no order without its customer.
#pragma once

#include "instep/base/random.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>

namespace instep::simulation {

/// The tables, for the owner and for those who follow it.
inline constexpr std::string_view kOrderTables =
    "CREATE TABLE customers (id INTEGER PRIMARY KEY NOT NULL, owed INTEGER NOT NULL);"
    "CREATE TABLE orders (id INTEGER PRIMARY KEY NOT NULL, customer_id INTEGER NOT NULL{0}, "
    "number INTEGER UNIQUE, total INTEGER NOT NULL);"
    "CREATE TABLE lines (id INTEGER PRIMARY KEY NOT NULL, order_id INTEGER NOT NULL REFERENCES "
    "orders (id), amount INTEGER NOT NULL);";

/// For one transaction. Borrows both.
class OrdersWorkload {
public:
    /// `refused`: how many of the lines have the refused amount.
    OrdersWorkload(Transaction& transaction, Random& random, double refused)
        : transaction_(transaction), random_(random), refused_(refused) {}

    /// One thing that people do. Errors: those of Connection.
    Result<void> change();

private:
    std::int64_t below(std::uint64_t end) { return static_cast<std::int64_t>(random_.below(end)); }
    std::int64_t amount();

    Result<void> place(std::int64_t order);
    Result<void> remove(std::int64_t order);
    Result<void> move_lines(std::int64_t from, std::int64_t to);
    Result<void> trade_numbers(std::int64_t one, std::int64_t other);
    Result<void> add_up();
    Result<void> run(std::string_view sql, std::initializer_list<ValueView> parameters = {});

    Transaction& transaction_;
    Random& random_;
    double refused_;
};

}  // namespace instep::simulation
