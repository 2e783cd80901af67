#include "instep/wal/wal_capture.hpp"

#include "instep/base/fail_point.hpp"
#include "instep/db/postgres/replication/connection.hpp"
#include "instep/log/handover.hpp"
#include "slot.hpp"
#include "wal_cursor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace instep {

namespace {

using wal::slot_name;

constexpr std::chrono::seconds kPatience{30};

std::unexpected<Error> switch_under_way(std::string_view service) {
    return fail(ErrorCode::kBusy,
                fmt::format("service {} has not read all that was captured before the last switch; "
                            "let it run with the capture that is in force, then try again",
                            service));
}

/// Nothing before our tables are there, and on other databases.
Result<std::optional<wal::WalCursor>> find_cursor(Connection& connection) {
    if (connection.dialect().name() != "postgres") {
        return std::nullopt;
    }
    auto cursor = wal::load_cursor(connection, kRelayReader);
    if (!cursor && cursor.error().code == ErrorCode::kNotFound) {
        return std::nullopt;
    }
    return cursor;
}

std::string lock_tables(const Dialect& dialect, std::span<const PublishEntry> entries) {
    std::string tables;
    for (const PublishEntry& entry : entries) {
        tables += (tables.empty() ? "" : ", ") + dialect.quote_table(entry.table);
    }
    return tables.empty() ? "" : fmt::format("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables);
}

/// Tables of the publication, as quoted names; nothing if there is no such publication.
Result<std::optional<std::set<std::string>>> published_tables(Connection& connection,
                                                              std::string_view publication) {
    INSTEP_TRY_ASSIGN(const auto exists,
                      connection.query("SELECT 1 FROM pg_publication WHERE pubname = $1",
                                       std::initializer_list<ValueView>{publication}));
    INSTEP_TRY_ASSIGN(const bool found, exists->next());
    if (!found) {
        return std::nullopt;
    }
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query("SELECT r.prrelid::bigint FROM pg_publication_rel r "
                         "JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $1",
                         std::initializer_list<ValueView>{publication}));
    std::set<std::string> tables;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return tables;
        }
        tables.emplace(fmt::format("{}", rows->integer(0)));
    }
}

/// A table that has to be in the publication.
struct Needed {
    std::string quoted;

    /// Its oid; empty if it does not exist yet, as our own before the first apply.
    std::string oid;
};

Result<std::vector<Needed>> needed_tables(Connection& connection,
                                          std::span<const PublishEntry> entries) {
    std::vector<Needed> tables = {{"instep.log", ""}, {"instep.contract", ""}};
    for (const PublishEntry& entry : entries) {
        tables.push_back({connection.dialect().quote_table(entry.table), ""});
    }
    for (Needed& table : tables) {
        INSTEP_TRY_ASSIGN(
            const auto row,
            connection.query("SELECT coalesce(to_regclass($1)::oid::bigint::text, "
                             "'')",
                             std::initializer_list<ValueView>{std::string_view(table.quoted)}));
        INSTEP_TRY(row->next());
        table.oid = row->text(0);
    }
    return tables;
}

/// What keeps the write-ahead log from saying which row changed, and how.
Result<void> check_table(Connection& connection, const PublishEntry& entry) {
    const std::string name = connection.dialect().quote_table(entry.table);
    INSTEP_TRY_ASSIGN(
        const auto row,
        connection.query("SELECT c.relreplident::text, c.relpersistence::text, coalesce(("
                         "  SELECT string_agg(a.attname, ',') FROM pg_attribute a "
                         "  WHERE a.attrelid = c.oid AND a.attgenerated <> ''), '') "
                         "FROM pg_class c WHERE c.oid = to_regclass($1)",
                         std::initializer_list<ValueView>{std::string_view(name)}));
    INSTEP_TRY_ASSIGN(const bool found, row->next());
    if (!found) {
        return {};
    }
    const auto refuse = [&](std::string_view why) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("table {} cannot be captured from the write-ahead log: {}",
                                entry.table, why));
    };
    if (row->text(0) != "d" && row->text(0) != "f") {
        return refuse(
            fmt::format("its replica identity is not the primary key; ALTER TABLE {} "
                        "REPLICA IDENTITY DEFAULT",
                        name));
    }
    if (row->text(1) != "p") {
        return refuse("it is not logged; ALTER TABLE … SET LOGGED");
    }
    for (const std::string& column : entry.columns) {
        if (fmt::format(",{},", row->text(2)).contains(fmt::format(",{},", column))) {
            return refuse(
                fmt::format("column {} is generated, and the log does not hold it; "
                            "capture by triggers does",
                            column));
        }
    }
    return {};
}

Result<void> check_server(Connection& connection) {
    if (connection.dialect().name() != "postgres") {
        return fail(ErrorCode::kConfigInvalid,
                    "capture = \"wal\" needs a PostgreSQL database; use \"triggers\"");
    }
    INSTEP_TRY_ASSIGN(const auto row, connection.query("SHOW wal_level", {}));
    INSTEP_TRY(row->next());
    if (row->text(0) != "logical") {
        return fail(ErrorCode::kConfigInvalid,
                    fmt::format("capture = \"wal\" needs wal_level = logical, and it is {}; ALTER "
                                "SYSTEM SET wal_level = logical and restart the server",
                                row->text(0)));
    }
    return {};
}

class WalPlan {
public:
    WalPlan(Connection& connection, std::string_view service, std::span<const PublishEntry> entries)
        : connection_(connection),
          service_(service),
          entries_(entries),
          name_(slot_name(service)) {}

    Result<void> make() {
        INSTEP_TRY(check_server(connection_));
        for (const PublishEntry& entry : entries_) {
            INSTEP_TRY(check_table(connection_, entry));
        }
        INSTEP_TRY_ASSIGN(const auto cursor, find_cursor(connection_));
        if (cursor && cursor->ends) {
            return switch_under_way(service_);
        }
        switches = !cursor;
        INSTEP_TRY_ASSIGN(const auto needed, needed_tables(connection_, entries_));
        INSTEP_TRY_ASSIGN(const auto published, published_tables(connection_, name_));
        if (!published) {
            create_publication(needed);
        } else {
            alter_publication(needed, *published);
        }
        INSTEP_TRY_ASSIGN(within, plan_capture(connection_, service_, entries_, CaptureBy::kWal));
        std::ranges::move(altered_, std::back_inserter(within));
        return {};
    }

    [[nodiscard]] std::vector<SchemaChange> all() const {
        std::vector<SchemaChange> changes = before;
        if (switches) {
            changes.push_back(
                {fmt::format("create replication slot {}", name_),
                 fmt::format("-- slot {} for pgoutput, outside of transactions", name_)});
        }
        changes.insert(changes.end(), within.begin(), within.end());
        if (switches) {
            changes.push_back({"capture from the write-ahead log from here on",
                               "-- while the published tables and the log are locked"});
        }
        return changes;
    }

    /// In a transaction of its own, before the slot: a slot does not see later publications.
    std::vector<SchemaChange> before;

    /// In the transaction of the switch.
    std::vector<SchemaChange> within;
    bool switches = false;

private:
    void create_publication(const std::vector<Needed>& needed) {
        std::string tables;
        for (const Needed& table : needed) {
            tables += (tables.empty() ? "" : ", ") + table.quoted;
        }
        before.push_back({fmt::format("create publication {}", name_),
                          fmt::format("CREATE PUBLICATION {} FOR TABLE {} WITH "
                                      "(publish_via_partition_root = true)",
                                      connection_.dialect().quote(name_), tables)});
    }

    void alter_publication(const std::vector<Needed>& needed, std::set<std::string> published) {
        const std::string quoted = connection_.dialect().quote(name_);
        for (const Needed& table : needed) {
            if (published.erase(table.oid) == 0) {
                altered_.push_back(
                    {fmt::format("add table {} to publication {}", table.quoted, name_),
                     fmt::format("ALTER PUBLICATION {} ADD TABLE {}", quoted, table.quoted)});
            }
        }
        for (const std::string& oid : published) {
            altered_.push_back(
                {fmt::format("take a table out of publication {}", name_),
                 fmt::format("DO $$ BEGIN EXECUTE format('ALTER PUBLICATION %I DROP TABLE %s', "
                             "'{}', {}::regclass); END $$",
                             name_, oid)});
        }
    }

    Connection& connection_;
    const std::string_view service_;
    const std::span<const PublishEntry> entries_;
    const std::string name_;
    std::vector<SchemaChange> altered_;
};

/// What a slot of the name may be: none, or one that is left from an apply that did not end.
Result<void> check_slot(Connection& connection, const std::string& name) {
    INSTEP_TRY_ASSIGN(const auto slot, wal::read_slot(connection, name));
    if (slot && (!slot->is_ours || slot->is_active)) {
        return fail(ErrorCode::kConflict,
                    fmt::format("there is a replication slot {} already, {}; rename the service, "
                                "or drop the slot with pg_drop_replication_slot()",
                                name,
                                slot->is_ours ? "and somebody streams from it"
                                              : "of another database or plugin"));
    }
    return {};
}

Result<void> run_in_transaction(Connection& connection, std::span<const SchemaChange> changes) {
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(run_changes(transaction, changes));
    return transaction.commit();
}

}  // namespace

Result<std::vector<SchemaChange>> plan_wal_capture(Connection& connection, std::string_view service,
                                                   std::span<const PublishEntry> entries) {
    WalPlan plan(connection, service, entries);
    INSTEP_TRY(plan.make());
    return plan.all();
}

Result<std::vector<SchemaChange>> apply_wal_capture(Connection& connection,
                                                    const WalCaptureOptions& options,
                                                    const Clock& clock) {
    const std::string name = slot_name(options.service);
    WalPlan plan(connection, options.service, options.entries);
    INSTEP_TRY(plan.make());
    if (plan.switches) {
        INSTEP_TRY(check_slot(connection, name));
        // Whoever may not do this has nothing half-done afterwards.
        INSTEP_TRY(ReplicationConnection::open(options.url, clock, kPatience));
    }
    if (!plan.before.empty()) {
        INSTEP_TRY(run_in_transaction(connection, plan.before));
    }
    if (plan.switches) {
        INSTEP_TRY(wal::make_slot(connection, options.url, name, clock));
        INSTEP_FAIL_POINT("wal.before_switch");
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    if (plan.switches) {
        if (const std::string lock = lock_tables(connection.dialect(), options.entries);
            !lock.empty()) {
            INSTEP_TRY(connection.execute_script(lock));
        }
        INSTEP_TRY(lock_log(transaction));
    }
    INSTEP_TRY(run_changes(transaction, plan.within));
    if (plan.switches) {
        INSTEP_TRY(end_snapshot_reading(transaction, kRelayReader));
        INSTEP_TRY_ASSIGN(const std::uint64_t position, wal::written_end(connection));
        INSTEP_TRY(wal::begin_cursor(transaction, kRelayReader, name, position));
    }
    INSTEP_TRY(transaction.commit());
    return plan.all();
}

Result<std::vector<SchemaChange>> plan_trigger_capture(Connection& connection,
                                                       std::string_view service,
                                                       std::span<const PublishEntry> entries) {
    INSTEP_TRY_ASSIGN(auto changes, plan_capture(connection, service, entries));
    INSTEP_TRY_ASSIGN(const auto cursor, find_cursor(connection));
    if (cursor && !cursor->ends) {
        INSTEP_TRY_ASSIGN(const bool ended, snapshot_reading_has_ended(connection, kRelayReader));
        if (!ended) {
            return switch_under_way(service);
        }
        changes.push_back({"capture by triggers from here on",
                           fmt::format("-- the relay drops slot and publication {} when it has "
                                       "read them to their end",
                                       cursor->slot)});
    }
    return changes;
}

Result<std::vector<SchemaChange>> apply_trigger_capture(Transaction& transaction,
                                                        std::string_view service,
                                                        std::span<const PublishEntry> entries) {
    Connection& connection = transaction.connection();
    INSTEP_TRY_ASSIGN(const auto cursor, find_cursor(connection));
    const std::size_t switches = cursor && !cursor->ends ? 1 : 0;
    if (switches > 0) {
        if (const std::string lock = lock_tables(connection.dialect(), entries); !lock.empty()) {
            INSTEP_TRY(connection.execute_script(lock));
        }
        INSTEP_TRY(lock_log(transaction));
    }
    INSTEP_TRY_ASSIGN(auto changes, plan_trigger_capture(connection, service, entries));
    // The last one is the switch itself.
    INSTEP_TRY(run_changes(transaction, std::span(changes).first(changes.size() - switches)));
    if (switches > 0) {
        INSTEP_TRY_ASSIGN(const std::uint64_t position, wal::written_end(connection));
        INSTEP_TRY(begin_snapshot_reading(transaction, kRelayReader, position));
        INSTEP_TRY(wal::end_cursor(transaction, kRelayReader, position));
    }
    return changes;
}

}  // namespace instep
