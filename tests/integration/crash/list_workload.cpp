#include "tests/integration/crash/list_workload.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <iterator>

namespace instep::test {

namespace {

constexpr std::int64_t kKeys = 150;
constexpr std::uint64_t kChangesMax = 20;

template <class T>
T must(Result<T> result) {
    EXPECT_TRUE(result.has_value()) << result.error().message;
    return *std::move(result);
}

void must(const Result<void>& result) { EXPECT_TRUE(result.has_value()) << result.error().message; }

}  // namespace

ListWriter::ListWriter(Connection& connection, std::uint64_t seed)
    : connection_(connection), random_(seed) {}

void ListWriter::write() {
    Transaction transaction = must(Transaction::begin(connection_, TransactionMode::kWrite));
    Items items = items_;
    const std::uint64_t changes = random_.below(10) == 0 ? 1 + random_.below(kChangesMax) : 1;
    for (std::uint64_t i = 0; i < changes; ++i) {
        change(transaction, items);
    }
    if (random_.below(12) > 0) {
        must(transaction.commit());
        items_ = std::move(items);
    }
}

void ListWriter::write(int transactions) {
    for (int i = 0; i < transactions; ++i) {
        write();
    }
}

void ListWriter::change(Transaction& transaction, Items& items) {
    const std::int64_t key =
        random_.below(8) == 0 ? kSteadyKey : 1 + static_cast<std::int64_t>(random_.below(kKeys));
    const std::int64_t entry = ++entry_;
    Item& item = items[key];
    if (!item.present) {
        const std::string entries = grow(item, entry);
        must(transaction.execute("INSERT INTO items (id, entries, note) VALUES ($1, $2, $3)",
                                 {key, std::string_view(entries), entry}));
        return;
    }
    const std::uint64_t kind = key == kSteadyKey ? 9 : random_.below(10);
    if (kind == 0) {
        item.present = false;
        must(transaction.execute("DELETE FROM items WHERE id = $1", {key}));
        return;
    }
    const std::int64_t other = 2 + static_cast<std::int64_t>(random_.below(kKeys - 1));
    if (kind == 1 && !items[other].present) {
        item.present = false;
        const std::string entries = grow(items[other], entry);
        must(transaction.execute("UPDATE items SET id = $1, entries = $2 WHERE id = $3",
                                 {other, std::string_view(entries), key}));
        return;
    }
    grow(item, entry);
    must(transaction.execute(
        "UPDATE items SET entries = substr(entries, 1, length(entries) - 1) || ',' || "
        "CAST($1 AS text) || ']', note = $2 WHERE id = $3",
        {std::string_view(fmt::format("{}", entry)), entry, key}));
}

std::string ListWriter::grow(Item& item, std::int64_t entry) {
    fmt::format_to(std::back_inserter(item.entries), "{}{}", item.entries.empty() ? "" : ",",
                   entry);
    item.present = true;
    return fmt::format("[{}]", item.entries);
}

bool ListWriter::has_written(std::int64_t key, std::string_view entries) const {
    const auto item = items_.find(key);
    if (item == items_.end() || entries.size() < 3) {
        return false;
    }
    const std::string_view inner = entries.substr(1, entries.size() - 2);
    const std::string& all = item->second.entries;
    return all.starts_with(inner) && (all.size() == inner.size() || all[inner.size()] == ',');
}

ListWatch::ListWatch(Connection& connection, std::string query, const ListWriter& writer)
    : connection_(connection), query_(std::move(query)), writer_(writer) {}

void ListWatch::look() {
    ++looks_;
    const auto rows = must(connection_.query(query_, {}));
    while (must(rows->next())) {
        judge(rows->integer(0), rows->text(1), rows->blob(2));
    }
}

void ListWatch::judge(std::int64_t key, std::string_view entries, std::string_view version) {
    Seen& seen = seen_[key];
    EXPECT_TRUE(writer_.has_written(key, entries))
        << query_ << ": key " << key << " was never " << entries;
    EXPECT_GE(version, seen.version) << query_ << ": the version of key " << key << " went back";
    const bool was_gone = seen.look > 0 && seen.look + 1 < looks_;
    EXPECT_GE(entries.size(), seen.length + (was_gone ? 1 : 0))
        << query_ << ": key " << key << (was_gone ? " returned as " : " went back to ") << entries;
    seen = Seen{std::string(version), entries.size(), looks_};
}

}  // namespace instep::test
