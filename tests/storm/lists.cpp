#include "tests/storm/lists.hpp"

#include "tests/support/log_reading.hpp"

#include <fmt/format.h>

#include <set>

namespace instep::storm {

using test::expect_value;

Lists read_lists(Connection& owner) {
    Lists lists;
    auto transaction = expect_value(Transaction::begin(owner, TransactionMode::kRead));
    const auto rows = expect_value(transaction.query("SELECT key, length FROM lists"));
    while (expect_value(rows->next())) {
        lists[std::string(rows->text(0))] = rows->integer(1);
    }
    return lists;
}

std::int64_t count_effects(Connection& consumer) {
    auto transaction = expect_value(Transaction::begin(consumer, TransactionMode::kRead));
    const auto rows = expect_value(transaction.query("SELECT count(*) FROM effects"));
    expect_value(rows->next());
    return rows->integer(0);
}

namespace {

/// "  list-3 of 4000: 17 18 19", or nothing.
std::string missing_of(const std::string& key, std::int64_t length,
                       const std::set<std::int64_t>& seen) {
    std::string missing;
    for (std::int64_t number = 1; number <= length; ++number) {
        if (!seen.contains(number)) {
            missing += fmt::format(" {}", number);
        }
    }
    return missing.empty() ? "" : fmt::format("  {} of {}:{}\n", key, length, missing);
}

}  // namespace

std::string compare(const Lists& lists, Connection& consumer, StormResult& result) {
    std::map<std::string, std::set<std::int64_t>> seen;
    auto transaction = expect_value(Transaction::begin(consumer, TransactionMode::kRead));
    const auto rows =
        expect_value(transaction.query("SELECT key, number FROM effects ORDER BY place"));
    while (expect_value(rows->next())) {
        ++result.effects;
        std::set<std::int64_t>& numbers = seen[std::string(rows->text(0))];
        const std::int64_t number = rows->integer(1);
        if (numbers.contains(number)) {
            ++result.repeated;
        } else if (!numbers.empty() && number < *numbers.rbegin()) {
            ++result.inversions;
        }
        numbers.insert(number);
    }
    std::string missing;
    for (const auto& [key, length] : lists) {
        result.lost += static_cast<std::uint64_t>(length) - seen[key].size();
        missing += missing_of(key, length, seen[key]);
    }
    return missing;
}

}  // namespace instep::storm
