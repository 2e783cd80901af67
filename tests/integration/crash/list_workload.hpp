// Lists that only grow: the source appends a number of its own to a key's list with every
// change, so that a lost change, one applied twice, out of order or too late shows in a replica
// as a list that was never the source's.
#pragma once

#include "instep/base/random.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace instep::test {

/// Writes to the table items (id, entries, note) as an application would, and remembers every
/// list. A key that was deleted and comes back goes on with its old list.
class ListWriter {
public:
    /// The key that is never deleted, for a trigger that refuses it.
    static constexpr std::int64_t kSteadyKey = 1;

    ListWriter(Connection& connection, std::uint64_t seed);

    /// One transaction: appends, inserts, deletes and changes of keys; some of them roll back.
    void write();
    void write(int transactions);

    /// True if the list of `key` has ever been `entries`.
    [[nodiscard]] bool has_written(std::int64_t key, std::string_view entries) const;

private:
    struct Item {
        /// "3,17,21"
        std::string entries;
        bool present = false;
    };
    using Items = std::map<std::int64_t, Item>;

    void change(Transaction& transaction, Items& items);
    static std::string grow(Item& item, std::int64_t entry);

    Connection& connection_;
    SeededRandom random_;
    std::int64_t entry_ = 0;
    Items items_;
};

/// Watches a replica of items and fails the test when a row is what the source never was, or
/// goes back, or returns from the dead.
class ListWatch {
public:
    /// `query` gives id, entries and instep_version of each row.
    ListWatch(Connection& connection, std::string query, const ListWriter& writer);

    void look();

    /// The replica's server has failed: what it had shown in its last moment comes again.
    void forget() { seen_.clear(); }

private:
    struct Seen {
        std::string version;
        std::size_t length = 0;
        std::uint64_t look = 0;
    };

    void judge(std::int64_t key, std::string_view entries, std::string_view version);

    Connection& connection_;
    const std::string query_;
    const ListWriter& writer_;
    std::map<std::int64_t, Seen> seen_;
    std::uint64_t looks_ = 0;
};

}  // namespace instep::test
