// Chinook as its makers give it to PostgreSQL: every table kept in step in a second PostgreSQL
// database and in SQLite, while psql changes it, by the program itself.
#include "instep/db/postgres/database.hpp"
#include "instep/db/sqlite/database.hpp"
#include "tests/support/postgres_session.hpp"
#include "tests/support/process.hpp"
#include "tests/support/sync_system.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

namespace instep::test {
namespace {

using testing::HasSubstr;

/// How the owner captures its changes: a name, and a line of its service file.
struct Capture {
    std::string name;
    std::string setting;
};

void PrintTo(const Capture& capture, std::ostream* out) { *out << capture.name; }

/// A table and its key, as a service file lists it.
struct Published {
    std::string table;
    std::string key;
    std::string columns;
};

const std::vector<Published> kTables = {
    {"album", R"("album_id")", R"("album_id", "title", "artist_id")"},
    {"artist", R"("artist_id")", R"("artist_id", "name")"},
    {"customer", R"("customer_id")",
     R"("customer_id", "first_name", "last_name", "company", "address", "city", "state",
    "country", "postal_code", "phone", "fax", "email", "support_rep_id")"},
    {"employee", R"("employee_id")",
     R"("employee_id", "last_name", "first_name", "title", "reports_to", "birth_date", "hire_date",
    "address", "city", "state", "country", "postal_code", "phone", "fax", "email")"},
    {"genre", R"("genre_id")", R"("genre_id", "name")"},
    {"invoice", R"("invoice_id")",
     R"("invoice_id", "customer_id", "invoice_date", "billing_address", "billing_city",
    "billing_state", "billing_country", "billing_postal_code", "total")"},
    {"invoice_line", R"("invoice_line_id")",
     R"("invoice_line_id", "invoice_id", "track_id", "unit_price", "quantity")"},
    {"media_type", R"("media_type_id")", R"("media_type_id", "name")"},
    {"playlist", R"("playlist_id")", R"("playlist_id", "name")"},
    {"playlist_track", R"(["playlist_id", "track_id"])", R"("playlist_id", "track_id")"},
    {"track", R"("track_id")",
     R"("track_id", "name", "album_id", "media_type_id", "genre_id", "composer", "milliseconds",
    "bytes", "unit_price")"},
};

/// What an application does in round `{0}`, all tables over.
constexpr std::string_view kRound = R"(
BEGIN;
INSERT INTO artist VALUES (1000 + {0}, 'Zoë "{0}"');
INSERT INTO album VALUES (1000 + {0}, E'line\nbreak {0}', 1000 + {0});
INSERT INTO track VALUES (10000 + {0}, 'T', 1000 + {0}, 1, NULL, '', {0}, NULL, {0} / 100.0);
INSERT INTO playlist_track VALUES (1, 10000 + {0}), (8, 10000 + {0});
COMMIT;
UPDATE track SET unit_price = unit_price + 0.01, composer = nullif(composer, '')
WHERE track_id % 60 = {0};
UPDATE customer SET city = '東京 {0}', fax = NULL WHERE customer_id % 20 = {0} % 20;
UPDATE playlist_track SET playlist_id = 2 WHERE playlist_id = 1 AND track_id % 60 = {0};
DELETE FROM playlist_track WHERE playlist_id = 8 AND track_id % 60 = {0};
DELETE FROM invoice_line WHERE invoice_id % 60 = {0};
BEGIN; DELETE FROM invoice WHERE invoice_id % 60 = {0}; SAVEPOINT before;
DELETE FROM invoice_line; ROLLBACK TO before; COMMIT;
INSERT INTO invoice VALUES (1000 + {0}, 1, now()::timestamp, 'a', 'b', NULL, '', NULL, {0}.50);
INSERT INTO invoice_line VALUES (10000 + {0}, 1000 + {0}, 1, 1e-2, 1);
UPDATE invoice_line SET invoice_line_id = 20000 + {0} WHERE invoice_line_id = 10000 + {0};
UPDATE employee SET hire_date = hire_date + interval '1 microsecond' * {0};
INSERT INTO genre VALUES (100 + {0}, NULL) ON CONFLICT (genre_id) DO UPDATE SET name = 'x';
UPDATE media_type SET name = name || '!' WHERE media_type_id = {0} % 5 + 1;
UPDATE playlist SET name = upper(name) WHERE playlist_id = {0} % 18 + 1;
SELECT pg_sleep(0.01);
)";

class ChinookPostgresTest : public testing::TestWithParam<Capture> {
protected:
    void SetUp() override {
        psql("postgres", {"-f", INSTEP_CHINOOK_FOLDER "/Chinook_PostgreSql.sql"});
        run_postgres(server_.url(), "CREATE DATABASE mirror");
        std::string store = fmt::format(
            "[service]\nname = \"store\"\ndatabase = \"{}\"\nbroker = \"embedded:broker.db\"\n{}\n",
            server_.url("chinook"), GetParam().setting);
        std::string followed;
        for (const Published& published : kTables) {
            store += fmt::format(
                "\n[[publish]]\ntable = \"{0}\"\nentity = \"{0}\"\nkey = {1}\ncolumns = [{2}]\n",
                published.table, published.key, published.columns);
            followed += fmt::format("\n[[replica]]\ntopic = \"store.{0}\"\ntable = \"{0}\"\n",
                                    published.table);
        }
        given_file("store.toml", store);
        given_replica("mirror", server_.url("mirror"), followed);
        given_replica("shelf", "sqlite:shelf.db", followed);
    }

    void given_file(std::string_view name, std::string_view text) const {
        std::ofstream(folder_.file(name)) << text;
    }

    void given_replica(std::string_view name, std::string_view database,
                       std::string_view followed) const {
        given_file(fmt::format("{}.toml", name),
                   fmt::format("[service]\nname = \"{}\"\ndatabase = \"{}\"\n"
                               "broker = \"embedded:broker.db\"\n{}",
                               name, database, followed));
    }

    /// Its rounds from first to last, in a file for psql.
    void given_rounds(std::string_view name, int first, int last) const {
        std::string script;
        for (int round = first; round <= last; ++round) {
            script += fmt::format(kRound, round);
        }
        given_file(name, script);
    }

    [[nodiscard]] ProcessOptions psql_options(std::string_view database,
                                              std::vector<std::string> words) const {
        ProcessOptions options;
        options.arguments = {"psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", server_.url(database)};
        options.arguments.insert(options.arguments.end(), words.begin(), words.end());
        options.directory = folder_.path().string();
        return options;
    }

    void psql(std::string_view database, std::vector<std::string> words) const {
        const Finished done = run_process("/usr/bin/env", psql_options(database, std::move(words)));
        ASSERT_EQ(done.exit, 0) << done.err;
    }

    [[nodiscard]] ProcessOptions options(std::vector<std::string> words) const {
        words.insert(words.end(), {"store.toml", "mirror.toml", "shelf.toml"});
        ProcessOptions options;
        options.arguments = std::move(words);
        options.directory = folder_.path().string();
        return options;
    }

    std::string expect_ok(const std::vector<std::string>& words) const {
        const Finished finished = run_process(INSTEP_PROGRAM, options(words));
        EXPECT_EQ(finished.exit, 0) << finished.out << finished.err;
        return finished.out;
    }

    [[nodiscard]] std::unique_ptr<Connection> open(std::string_view database) const {
        const auto opened = database == "shelf" ? open_sqlite(folder_.file("shelf.db"), clock_)
                                                : open_postgres(server_.url(database), clock_);
        return opened.value()->connect().value();
    }

    /// Every value of every row, as it travels.
    static std::vector<std::string> read(Connection& connection, const std::string& table) {
        const Dialect& dialect = connection.dialect();
        const TableDescription described = dialect.describe_table(connection, table).value();
        std::string columns;
        for (const ColumnDescription& column : described.columns) {
            if (column.name != "instep_version") {
                columns += (columns.empty() ? "" : ", ") +
                           dialect.wire_expression(dialect.quote(column.name), column.kind,
                                                   column.declared_type);
            }
        }
        auto rows = rows_of(connection, fmt::format("SELECT {} FROM \"{}\"", columns, table));
        std::ranges::sort(rows);
        return rows;
    }

    void expect_in_step() const {
        expect_ok({"wait", "--caught-up", "--timeout", "2m"});
        const auto owner = open("chinook");
        for (const std::string_view replica : {"mirror", "shelf"}) {
            const auto copy = open(replica);
            for (const Published& published : kTables) {
                const auto here = read(*owner, published.table);
                const auto there = read(*copy, published.table);
                const auto [a, b] = std::ranges::mismatch(here, there);
                EXPECT_TRUE(a == here.end() && b == there.end())
                    << published.table << " in " << replica << ": "
                    << (a == here.end() ? "a row too many" : *a);
            }
        }
    }

    PostgresServer server_;
    TempDir folder_;
    SystemClock clock_;
};

TEST_P(ChinookPostgresTest, EveryTableIsFollowedWhileItIsFilledAndChanged) {
    EXPECT_THAT(expect_ok({"plan"}), HasSubstr("INSERT INTO instep_contract"));
    expect_ok({"apply"});
    EXPECT_EQ(expect_ok({"plan"}), "");
    given_rounds("early.sql", 0, 59);
    Process writer("/usr/bin/env", psql_options("chinook", {"-f", "early.sql"}));
    Process daemon(INSTEP_PROGRAM, options({"run"}));
    ASSERT_TRUE(daemon.prints("ready"));
    // With writers at work, and again in the quiet.
    expect_ok({"wait", "--caught-up", "--timeout", "2m"});
    expect_ok({"verify"});
    const Finished written = writer.wait();
    EXPECT_EQ(written.exit, 0) << written.err;
    expect_in_step();
    expect_ok({"verify"});
    EXPECT_EQ(value_of(*open("shelf"), "SELECT count(*) FROM track"), "3563");
    EXPECT_EQ(value_of(*open("shelf"), "SELECT total FROM invoice WHERE invoice_id = 1059"),
              "59.50");

    psql("chinook", {"-c", "UPDATE track SET unit_price = unit_price * 2, bytes = -bytes"});
    psql("chinook", {"-c", "TRUNCATE invoice_line, playlist_track"});
    expect_in_step();
    daemon.signal(SIGTERM);
    EXPECT_EQ(daemon.wait().exit, 0);
    expect_ok({"verify"});
}

INSTANTIATE_TEST_SUITE_P(Captured, ChinookPostgresTest,
                         testing::Values(Capture{"triggers", ""},
                                         Capture{"wal", "capture = \"wal\""}),
                         [](const auto& capture) { return capture.param.name; });

}  // namespace
}  // namespace instep::test
