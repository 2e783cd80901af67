#include "tests/simulation/orders_workload.hpp"

#include "tests/simulation/owner.hpp"

namespace instep::simulation {

namespace {

// Few of each, so that they are met again.
constexpr std::uint64_t kCustomers = 3;
constexpr std::uint64_t kOrders = 4;
constexpr std::uint64_t kLines = 12;
constexpr std::uint64_t kLinesPlaced = 6;

}  // namespace

Result<void> OrdersWorkload::change() {
    const std::int64_t one = below(kOrders);
    const std::int64_t other = below(kOrders);
    switch (below(7)) {
        case 0:
        case 1:
        case 2:
            INSTEP_TRY(place(one));
            break;
        case 3:
            INSTEP_TRY(remove(one));
            break;
        case 4:
            INSTEP_TRY(move_lines(one, other));
            break;
        case 5:
            INSTEP_TRY(trade_numbers(one, other));
            break;
        default:
            INSTEP_TRY(run("UPDATE lines SET amount = amount + 1 WHERE order_id = $1", {one}));
            break;
    }
    return add_up();
}

std::int64_t OrdersWorkload::amount() {
    return random_.unit() < refused_ ? kRefusedAmount : below(100);
}

Result<void> OrdersWorkload::place(std::int64_t order) {
    const std::int64_t customer = below(kCustomers);
    INSTEP_TRY(run("INSERT INTO customers VALUES ($1, 0) ON CONFLICT DO NOTHING", {customer}));
    INSTEP_TRY(
        run("INSERT INTO orders VALUES ($1, $2, (SELECT coalesce(max(number), 0) + 1 FROM orders), "
            "0) ON CONFLICT (id) DO UPDATE SET customer_id = excluded.customer_id",
            {order, customer}));
    const std::int64_t lines = below(kLinesPlaced + 1);
    for (std::int64_t i = 0; i < lines; ++i) {
        INSTEP_TRY(
            run("INSERT INTO lines VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET "
                "order_id = excluded.order_id, amount = excluded.amount",
                {below(kLines), order, amount()}));
    }
    return {};
}

Result<void> OrdersWorkload::remove(std::int64_t order) {
    INSTEP_TRY(run("DELETE FROM lines WHERE order_id = $1", {order}));
    INSTEP_TRY(run("DELETE FROM orders WHERE id = $1", {order}));
    return run(
        "DELETE FROM customers WHERE NOT EXISTS (SELECT 1 FROM orders WHERE "
        "customer_id = customers.id)");
}

Result<void> OrdersWorkload::move_lines(std::int64_t from, std::int64_t to) {
    return run(
        "UPDATE lines SET order_id = $2 WHERE order_id = $1 AND EXISTS (SELECT 1 FROM "
        "orders WHERE id = $2)",
        {from, to});
}

/// In between, neither has its number.
Result<void> OrdersWorkload::trade_numbers(std::int64_t one, std::int64_t other) {
    if (one == other) {
        return {};
    }
    std::int64_t of_one = 0;
    std::int64_t of_other = 0;
    {
        INSTEP_TRY_ASSIGN(
            const auto rows,
            transaction_.query("SELECT a.number, b.number FROM orders a, orders b WHERE a.id = $1 "
                               "AND b.id = $2",
                               {one, other}));
        INSTEP_TRY_ASSIGN(const bool found, rows->next());
        if (!found) {
            return {};
        }
        of_one = rows->integer(0);
        of_other = rows->integer(1);
    }
    INSTEP_TRY(run("UPDATE orders SET number = NULL WHERE id = $1", {one}));
    INSTEP_TRY(run("UPDATE orders SET number = $2 WHERE id = $1", {other, of_one}));
    return run("UPDATE orders SET number = $2 WHERE id = $1", {one, of_other});
}

Result<void> OrdersWorkload::add_up() {
    INSTEP_TRY(
        run("UPDATE orders SET total = s.total FROM (SELECT o.id, (SELECT "
            "coalesce(sum(amount), 0) FROM lines WHERE order_id = o.id) AS total FROM "
            "orders o) AS s WHERE s.id = orders.id AND s.total <> orders.total"));
    return run(
        "UPDATE customers SET owed = s.owed FROM (SELECT c.id, (SELECT "
        "coalesce(sum(total), 0) FROM orders WHERE customer_id = c.id) AS owed FROM "
        "customers c) AS s WHERE s.id = customers.id AND s.owed <> customers.owed");
}

Result<void> OrdersWorkload::run(std::string_view sql,
                                 std::initializer_list<ValueView> parameters) {
    INSTEP_TRY(transaction_.execute(sql, parameters));
    return {};
}

}  // namespace instep::simulation
