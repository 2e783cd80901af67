#include "log_partitions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace instep {

namespace {

/// Numbers in one partition: some 500 MB of usual events.
constexpr std::int64_t kPartitionRows = 1'000'000;

/// Numbers that must have a partition before they are drawn.
constexpr std::int64_t kRowsAhead = 2'000'000;

/// Whoever waits for a table's strongest lock makes all writers wait behind it.
constexpr std::string_view kHardlyWait = "SET LOCAL lock_timeout = '20ms'";

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

/// Runs a step that locks; false if a writer was in the way.
Result<bool> try_step(Transaction& transaction, const std::string& script) {
    INSTEP_TRY(transaction.set_savepoint());
    auto done = transaction.connection().execute_script(script);
    if (!done && done.error().code != ErrorCode::kBusy) {
        return std::unexpected(std::move(done).error());
    }
    if (!done) {
        INSTEP_TRY(transaction.rollback_to_savepoint());
    }
    INSTEP_TRY(transaction.release_savepoint());
    return done.has_value();
}

/// The end of the last range; ranges follow each other without gaps.
Result<std::int64_t> range_end(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(const auto rows,
                      transaction.query("SELECT max(substring(pg_get_expr(c.relpartbound, c.oid) "
                                        "FROM 'TO \\(''(\\d+)''\\)')::bigint) "
                                        "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
                                        "WHERE i.inhparent = 'instep.log_passing'::regclass"));
    INSTEP_TRY(rows->next());
    return rows->integer(0);
}

/// Attached, not created in place: that would lock the whole log.
std::string make_partition(std::int64_t begin) {
    const std::int64_t end = begin + kPartitionRows;
    return fmt::format(
        "CREATE TABLE instep.log_passing_{0} (LIKE instep.log_passing INCLUDING DEFAULTS "
        "INCLUDING CONSTRAINTS); "
        "ALTER TABLE instep.log_passing ATTACH PARTITION instep.log_passing_{0} "
        "FOR VALUES FROM ({0}) TO ({1})",
        begin, end);
}

Result<void> make_ahead(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(const auto rows, transaction.query("SELECT last_value FROM instep.log_seq"));
    INSTEP_TRY(rows->next());
    const std::int64_t needed = rows->integer(0) + kRowsAhead;
    INSTEP_TRY_ASSIGN(std::int64_t end, range_end(transaction));
    if (rows->integer(0) > end) {
        // Numbers went to the default partition; the next range begins where none has been.
        end = rows->integer(0) + kPartitionRows;
    }
    for (; end < needed; end += kPartitionRows) {
        INSTEP_TRY_ASSIGN(const bool made, try_step(transaction, make_partition(end)));
        if (!made) {
            return {};
        }
    }
    return {};
}

/// Every row with this number or a lower one was read by every reader.
Result<std::int64_t> read_by_all(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(
        const auto rows,
        transaction.query(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM instep.cursor GROUP BY reader "
            "    HAVING count(*) < max(partitions)) THEN 0 "
            "  ELSE coalesce((SELECT min(least(base_seq, past_seq, (SELECT min(split_part(w, "
            "':', 2)::bigint) "
            "      FROM unnest(string_to_array(nullif(base_waits, ''), ',')) AS w))) "
            "    FROM instep.cursor), 0) END"));
    INSTEP_TRY(rows->next());
    return rows->integer(0);
}

struct RangePartition {
    std::string name;

    /// Empty for the default partition.
    std::optional<std::int64_t> end;
};

Result<std::optional<RangePartition>> oldest_partition(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(
        const auto rows,
        transaction.query("SELECT c.relname, substring(pg_get_expr(c.relpartbound, c.oid) "
                          "FROM 'TO \\(''(\\d+)''\\)')::bigint AS range_end "
                          "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
                          "WHERE i.inhparent = 'instep.log_passing'::regclass "
                          "AND c.relname <> 'log_passing_default' ORDER BY range_end LIMIT 1"));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return std::nullopt;
    }
    return RangePartition{std::string(rows->text(0)), rows->integer(1)};
}

/// The newest row of a partition: its number and whether it is old enough to go. Nothing if
/// there is none.
Result<std::optional<std::pair<std::int64_t, bool>>> newest_row(Transaction& transaction,
                                                                const std::string& partition,
                                                                Timestamp before) {
    INSTEP_TRY_ASSIGN(const auto rows,
                      transaction.query(fmt::format("SELECT seq, time_us < $1 FROM instep.{} "
                                                    "ORDER BY seq DESC LIMIT 1",
                                                    partition),
                                        {micros(before)}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return std::nullopt;
    }
    return std::pair{rows->integer(0), rows->integer(1) != 0};
}

Result<std::uint64_t> drop_oldest(Transaction& transaction, Timestamp before, std::int64_t read) {
    INSTEP_TRY_ASSIGN(const auto oldest, oldest_partition(transaction));
    if (!oldest || *oldest->end - 1 > read) {
        return 0;
    }
    INSTEP_TRY_ASSIGN(const auto newest, newest_row(transaction, oldest->name, before));
    if (newest && !newest->second) {
        return 0;
    }
    INSTEP_TRY_ASSIGN(const bool dropped,
                      try_step(transaction, fmt::format("DROP TABLE instep.{}", oldest->name)));
    return dropped ? static_cast<std::uint64_t>(kPartitionRows) : 0;
}

/// What came when no partition was ready for it.
Result<void> empty_default(Transaction& transaction, Timestamp before, std::int64_t read) {
    INSTEP_TRY_ASSIGN(const auto seen, newest_row(transaction, "log_passing_default", before));
    if (!seen || seen->first > read || !seen->second) {
        return {};
    }
    INSTEP_TRY_ASSIGN(const bool locked,
                      try_step(transaction, "LOCK TABLE instep.log_passing_default"));
    if (!locked) {
        return {};
    }
    INSTEP_TRY_ASSIGN(const auto newest, newest_row(transaction, "log_passing_default", before));
    if (newest && newest->first <= read) {
        INSTEP_TRY(transaction.execute("TRUNCATE instep.log_passing_default"));
    }
    return {};
}

/// True if no other process keeps the partitions up at this moment; none will until the end of
/// the transaction.
Result<bool> is_alone(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(
        const auto rows,
        transaction.query("SELECT 1 FROM instep.log_identity FOR UPDATE SKIP LOCKED"));
    return rows->next();
}

}  // namespace

Result<std::uint64_t> trim_partitions(Transaction& transaction, Timestamp before,
                                      std::uint32_t rows_max) {
    INSTEP_TRY_ASSIGN(const bool alone, is_alone(transaction));
    if (!alone) {
        return 0;
    }
    INSTEP_TRY(transaction.execute(kHardlyWait));
    INSTEP_TRY(make_ahead(transaction));
    INSTEP_TRY_ASSIGN(const std::int64_t read, read_by_all(transaction));
    INSTEP_TRY_ASSIGN(const std::uint64_t dropped, drop_oldest(transaction, before, read));
    INSTEP_TRY(empty_default(transaction, before, read));
    INSTEP_TRY(transaction.execute(
        "DELETE FROM instep.event_id WHERE id IN (SELECT id FROM instep.event_id "
        "WHERE time_us < $1 AND stream_version IS NULL ORDER BY time_us LIMIT $2)",
        {micros(before), std::int64_t{rows_max}}));
    return dropped;
}

}  // namespace instep
