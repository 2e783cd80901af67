#include "tests/support/postgres_owner.hpp"

#include "instep/db/postgres/database.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>

namespace instep::test {

namespace {

/// Small pages, so that a scan passes many of its own bounds.
SyncSystem::Options options(Home replicas, PostgresServer& server) {
    SyncSystem::Options options;
    options.server = &server;
    options.owner = Home::kPostgres;
    options.replicas = replicas;
    options.scan.chunk_rows_max = 3;
    options.scan.digest_rows = 2;
    options.batch_events_max = 10;
    return options;
}

std::vector<std::string> sorted_rows(Connection& connection, const std::string& query) {
    std::vector<std::string> rows = rows_of(connection, query);
    std::ranges::sort(rows);
    return rows;
}

}  // namespace

PostgresOwnerTest::PostgresOwnerTest(PostgresServer& server)
    : system(options(GetParam(), server)), writer_(system.servers.front()->url()) {
    given(
        "SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY'; "
        "SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -15; "
        "SET bytea_output = 'escape'; SET lc_monetary = 'C'; SET xmlbinary = 'hex'");
}

void PostgresOwnerTest::TearDown() {
    for (const Error& error : system.errors) {
        ADD_FAILURE() << error.message;
    }
    if (HasFailure()) {
        for (const std::string& line : system.log_lines.lines()) {
            std::cerr << line << "\n";
        }
    }
}

ReplicaSide& PostgresOwnerTest::follow(const std::string& table, std::vector<std::string> key,
                                       const std::string& entity) {
    const auto described = system.owner->dialect().describe_table(*system.owner, table);
    PublishEntry entry{table, entity, std::move(key), {}, {}};
    for (const ColumnDescription& column : described.value().columns) {
        entry.columns.push_back(column.name);
    }
    std::vector<PublishEntry> entries{entry};
    for (const Followed& before : followed_) {
        entries.push_back(before.entry);
    }
    system.publish(entries);
    ReplicaSide& side =
        system.add_replica(fmt::format("reader{}", followed_.size()), entity, "copy");
    followed_.push_back({std::move(entry), &side});
    system.settle();
    return side;
}

std::string PostgresOwnerTest::copied(std::string_view query) const {
    return value_of(*followed_.back().side->sql, query);
}

void PostgresOwnerTest::expect_in_step() {
    system.settle();
    for (const Followed& followed : followed_) {
        const std::string table = system.owner->dialect().quote_table(followed.entry.table);
        const VerificationStatus status = system.verify(*followed.side);
        EXPECT_TRUE(status.finished) << table;
        EXPECT_EQ(status.differences, 0U) << table;
        EXPECT_EQ(fmt::format("{}", status.rows_checked), owned("SELECT count(*) FROM " + table));
        const auto described =
            system.owner->dialect().describe_table(*system.owner, followed.entry.table);
        for (const ColumnDescription& column : described.value().columns) {
            expect_same_column(column, table, *followed.side, followed.entry.key);
        }
    }
}

/// Each value beside its key, as it travels, and where both can say it as PostgreSQL shows it.
void PostgresOwnerTest::expect_same_column(const ColumnDescription& column,
                                           const std::string& table, ReplicaSide& side,
                                           const std::vector<std::string>& key) {
    const Dialect& dialect = system.owner->dialect();
    const std::string quoted = dialect.quote(column.name);
    const std::string travels = dialect.wire_expression(quoted, column.kind, column.declared_type);
    if (!on_postgres()) {
        // SQLite has one zero.
        expect_same_rows(side, quoted, table,
                         column.kind == ValueKind::kReal ? travels + " + 0::real" : travels);
        return;
    }
    std::string keys;
    for (const std::string& name : key) {
        keys += dialect.quote(name) + "::text, ";
    }
    expect_same_rows(side, keys + travels, table, keys + travels);
    expect_same_rows(side, keys + quoted + "::text", table, keys + quoted + "::text");
}

void PostgresOwnerTest::expect_same_rows(ReplicaSide& side, const std::string& copied,
                                         const std::string& table, const std::string& owned) {
    const auto there = sorted_rows(*side.sql, fmt::format("SELECT {} FROM copy", copied));
    const auto here = sorted_rows(*system.owner, fmt::format("SELECT {} FROM {}", owned, table));
    const auto [owner_row, copied_row] = std::ranges::mismatch(here, there);
    if (owner_row != here.end() || copied_row != there.end()) {
        ADD_FAILURE() << owned << " of " << table << ", " << here.size() << " rows, copied "
                      << there.size() << ", from this on:\n"
                      << (owner_row == here.end() ? "none" : owner_row->substr(0, 200)) << "\n"
                      << (copied_row == there.end() ? "none" : copied_row->substr(0, 200));
    }
}

}  // namespace instep::test
