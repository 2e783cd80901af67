// A real database that knew nothing of this project: Chinook, with composite keys, accents,
// NULLs and real numbers, kept in step by two other services and changed by the sqlite3 shell.
#include "instep/db/sqlite/database.hpp"
#include "tests/support/process.hpp"
#include "tests/support/sync_system.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace instep::test {
namespace {

using testing::IsEmpty;

constexpr std::string_view kStore = R"([service]
name = "store"
database = "sqlite:chinook.db"
broker = "embedded:broker.db"

[[publish]]
table = "Customer"
entity = "customer"
key = "CustomerId"
columns = ["CustomerId", "FirstName", "LastName", "Company", "Address", "City", "State",
    "Country", "PostalCode", "Fax", "Email", "SupportRepId"]
personal = ["FirstName", "LastName", "Address", "PostalCode", "Fax", "Email"]

[[publish]]
table = "Invoice"
entity = "invoice"
key = "InvoiceId"
columns = ["InvoiceId", "CustomerId", "InvoiceDate", "BillingAddress", "BillingCity",
    "BillingState", "BillingCountry", "BillingPostalCode", "Total"]
personal = ["BillingAddress", "BillingPostalCode"]

[[publish]]
table = "InvoiceLine"
entity = "invoice_line"
key = "InvoiceLineId"
columns = ["InvoiceLineId", "InvoiceId", "TrackId", "UnitPrice", "Quantity"]

[[publish]]
table = "Track"
entity = "track"
key = "TrackId"
columns = ["TrackId", "Name", "AlbumId", "MediaTypeId", "GenreId", "Composer", "Milliseconds",
    "Bytes", "UnitPrice"]

[[publish]]
table = "PlaylistTrack"
entity = "playlist_track"
key = ["PlaylistId", "TrackId"]
columns = ["PlaylistId", "TrackId"]
)";

constexpr std::string_view kReviews = R"(
[[publish]]
table = "Review"
entity = "review"
key = "ReviewId"
columns = ["ReviewId", "CustomerId", "Stars", "Words"]
personal = ["Words"]
)";

constexpr std::string_view kBilling = R"([service]
name = "billing"
database = "sqlite:billing.db"
broker = "embedded:broker.db"

[[replica]]
topic = "store.customer"
table = "customers"

[[replica]]
topic = "store.invoice"
table = "invoices"

[[replica]]
topic = "store.invoice_line"
table = "invoice_lines"
)";

constexpr std::string_view kPlayer = R"([service]
name = "player"
database = "sqlite:player.db"
broker = "embedded:broker.db"

[[replica]]
topic = "store.track"
table = "tracks"

[[replica]]
topic = "store.playlist_track"
table = "playlist_tracks"

[[replica]]
topic = "store.customer"
table = "listeners"
columns = { CustomerId = "listener_id", Email = "mail", Country = "home country" }
)";

constexpr std::string_view kReviewReplica = R"(
[[replica]]
topic = "store.review"
table = "reviews"
)";

/// A replica's columns under both names.
struct Copy {
    std::string source;
    std::string database;
    std::string table;
    std::vector<std::string> columns;
    std::vector<std::string> local_columns = columns;
};

const Copy kReviewsCopy{
    "Review", "player.db", "reviews", {"ReviewId", "CustomerId", "Stars", "Words"}};

const std::array kCopies = {
    Copy{"Customer",
         "billing.db",
         "customers",
         {"CustomerId", "FirstName", "LastName", "Company", "Address", "City", "State", "Country",
          "PostalCode", "Fax", "Email", "SupportRepId"}},
    Copy{"Invoice",
         "billing.db",
         "invoices",
         {"InvoiceId", "CustomerId", "InvoiceDate", "BillingAddress", "BillingCity", "BillingState",
          "BillingCountry", "BillingPostalCode", "Total"}},
    Copy{"InvoiceLine",
         "billing.db",
         "invoice_lines",
         {"InvoiceLineId", "InvoiceId", "TrackId", "UnitPrice", "Quantity"}},
    Copy{"Track",
         "player.db",
         "tracks",
         {"TrackId", "Name", "AlbumId", "MediaTypeId", "GenreId", "Composer", "Milliseconds",
          "Bytes", "UnitPrice"}},
    Copy{"PlaylistTrack", "player.db", "playlist_tracks", {"PlaylistId", "TrackId"}},
    Copy{"Customer",
         "player.db",
         "listeners",
         {"CustomerId", "Email", "Country"},
         {"listener_id", "mail", "home country"}},
};

/// Every value with its type and all its digits.
std::string quoted_row(const std::vector<std::string>& columns) {
    std::vector<std::string> values;
    for (const std::string& column : columns) {
        values.push_back(fmt::format("quote(\"{}\")", column));
    }
    return fmt::format("{}", fmt::join(values, " || ', ' || "));
}

std::filesystem::path find_chinook() {
    const char* given = std::getenv("INSTEP_CHINOOK");
    return given != nullptr ? given
                            : INSTEP_SOURCE_DIR "/../shared/data/chinook/Chinook_Sqlite.sqlite";
}

class ChinookTest : public testing::Test {
protected:
    void SetUp() override {
        const std::filesystem::path chinook = find_chinook();
        if (!std::filesystem::exists(chinook)) {
            if (const char* skip = std::getenv("INSTEP_SKIP_CHINOOK"); skip != nullptr) {
                GTEST_SKIP() << "without " << chinook;
            }
            FAIL() << chinook << " does not exist. INSTEP_CHINOOK says where Chinook_Sqlite.sqlite "
                   << "is; INSTEP_SKIP_CHINOOK=1 leaves these tests out.";
        }
        std::filesystem::copy_file(chinook, folder_.file("chinook.db"));
        std::filesystem::permissions(folder_.file("chinook.db"),
                                     std::filesystem::perms::owner_write,
                                     std::filesystem::perm_options::add);
        given_file("store.toml", kStore);
        given_file("billing.toml", kBilling);
        given_file("player.toml", kPlayer);
    }

    void given_file(std::string_view name, std::string_view text) const {
        std::ofstream(folder_.file(name)) << text;
    }

    void given_running_services() {
        expect_ok({"apply"});
        daemon_ = std::make_unique<Process>(INSTEP_PROGRAM, options({"run"}));
        ASSERT_TRUE(daemon_->prints("ready"));
        expect_ok({"wait", "--caught-up", "--timeout", "2m"});
    }

    void stop() {
        daemon_->signal(SIGTERM);
        EXPECT_EQ(daemon_->wait().exit, 0);
    }

    /// A command with the three service files.
    void expect_ok(const std::vector<std::string>& words) const {
        const Finished finished = run_process(INSTEP_PROGRAM, options(words));
        EXPECT_EQ(finished.exit, 0) << finished.out << finished.err;
    }

    [[nodiscard]] ProcessOptions options(std::vector<std::string> words) const {
        words.insert(words.end(), {"store.toml", "billing.toml", "player.toml"});
        ProcessOptions options;
        options.arguments = std::move(words);
        options.directory = folder_.path().string();
        return options;
    }

    /// As a person types it, with foreign keys enforced.
    void shell(std::string_view statements) const {
        ProcessOptions options;
        options.arguments = {"sqlite3",    "-bail",
                             "-cmd",       ".timeout 10000",
                             "chinook.db", fmt::format("PRAGMA foreign_keys = ON; {}", statements)};
        options.directory = folder_.path().string();
        const Finished finished = run_process("/usr/bin/env", options);
        ASSERT_EQ(finished.exit, 0) << statements << "\n" << finished.err;
    }

    [[nodiscard]] std::unique_ptr<Connection> open(std::string_view database) const {
        const auto opened = open_sqlite(folder_.file(database), clock_);
        EXPECT_TRUE(opened);
        auto connection = (*opened)->connect();
        EXPECT_TRUE(connection);
        return *std::move(connection);
    }

    [[nodiscard]] std::string source(std::string_view query) const {
        return value_of(*open("chinook.db"), query);
    }

    void expect_equal(const Copy& copy) const {
        const auto connection = open("chinook.db");
        run_sql(*connection, fmt::format("ATTACH '{}' AS replica", folder_.file(copy.database)));
        const std::string here =
            fmt::format("SELECT {} FROM main.\"{}\"", quoted_row(copy.columns), copy.source);
        const std::string there = fmt::format("SELECT {} FROM replica.\"{}\"",
                                              quoted_row(copy.local_columns), copy.table);
        EXPECT_THAT(rows_of(*connection, fmt::format("{} EXCEPT {} LIMIT 5", here, there)),
                    IsEmpty())
            << "missing in " << copy.table;
        EXPECT_THAT(rows_of(*connection, fmt::format("{} EXCEPT {} LIMIT 5", there, here)),
                    IsEmpty())
            << "stray in " << copy.table;
        EXPECT_EQ(value_of(*connection, "SELECT count(*) FROM replica." + copy.table),
                  value_of(*connection, "SELECT count(*) FROM main." + copy.source));
    }

    void expect_in_step() const {
        expect_ok({"wait", "--caught-up", "--timeout", "2m"});
        for (const Copy& copy : kCopies) {
            expect_equal(copy);
        }
    }

    /// The bytes that left the service, as they are on disk.
    [[nodiscard]] std::string sent() const {
        std::string bytes;
        for (const char* name : {"broker.db", "broker.db-wal"}) {
            std::ifstream file(folder_.file(name), std::ios::binary);
            bytes.append(std::istreambuf_iterator<char>(file), {});
        }
        return bytes;
    }

    TempDir folder_;
    SystemClock clock_;
    std::unique_ptr<Process> daemon_;
};

TEST_F(ChinookTest, EveryRowArrivesAsItIs) {
    given_running_services();
    expect_in_step();
    const auto player = open("player.db");
    EXPECT_EQ(value_of(*player, "SELECT count(*) FROM playlist_tracks"), "8715");
    EXPECT_NE(value_of(*player, "SELECT count(*) FROM tracks WHERE Composer IS NULL"), "0");
    EXPECT_EQ(value_of(*player, "SELECT typeof(UnitPrice) FROM tracks WHERE TrackId = 1"), "real");
    EXPECT_EQ(value_of(*open("billing.db"), "SELECT City FROM customers WHERE CustomerId = 10"),
              "São Paulo");
    stop();
    expect_ok({"verify"});
}

TEST_F(ChinookTest, APrivateColumnNeverLeavesTheService) {
    // Where the fax, which is published, has another number.
    std::vector<std::string> phones =
        rows_of(*open("chinook.db"), "SELECT Phone FROM Customer WHERE Phone <> coalesce(Fax, '')");
    ASSERT_GT(phones.size(), 50U);
    phones.emplace_back("5550199");
    given_running_services();
    shell("UPDATE Customer SET Phone = '+49 30 5550199' || CustomerId, City = City || '!'");
    expect_in_step();
    const std::string bytes = sent();
    EXPECT_NE(bytes.find("luisg@embraer.com.br"), std::string::npos);
    for (const std::string& phone : phones) {
        EXPECT_EQ(bytes.find(phone), std::string::npos) << phone;
    }
}

TEST_F(ChinookTest, FollowsInsertsUpdatesKeyChangesAndDeletes) {
    given_running_services();
    shell(
        "INSERT INTO Customer (CustomerId, FirstName, LastName, Email, City) VALUES "
        "(60, 'Zoë', 'O''Hara \"Q\"', 'zoe@example.org', '東京'), "
        "(61, '', 'Line' || char(10) || 'break', 'x@example.org', NULL);"
        "INSERT INTO Invoice VALUES (1000, 60, '2030-01-01', NULL, NULL, NULL, NULL, NULL, 0.1);"
        "INSERT INTO InvoiceLine VALUES (9000, 1000, 1, 1e-300, 1), (9001, 1000, 2, 1e300, 2)");
    expect_in_step();
    shell(
        "UPDATE Customer SET Company = NULL, State = '' WHERE CustomerId % 2 = 0;"
        "UPDATE Invoice SET Total = Total / 3.0;"
        "UPDATE Track SET Composer = 'Frédéric Chopin' WHERE Composer IS NULL");
    expect_in_step();
    // Keys that swap, a part of a composite key, and one that moves to where another was.
    shell(
        "UPDATE Customer SET CustomerId = 62 WHERE CustomerId = 61;"
        "BEGIN; DELETE FROM PlaylistTrack WHERE PlaylistId = 1 AND TrackId = 1;"
        "UPDATE PlaylistTrack SET TrackId = 1 WHERE PlaylistId = 1 AND TrackId = 2;"
        "UPDATE PlaylistTrack SET PlaylistId = 2 WHERE PlaylistId = 1 AND TrackId < 500; COMMIT;"
        "UPDATE InvoiceLine SET InvoiceLineId = InvoiceLineId + 100000 WHERE InvoiceLineId < 500");
    expect_in_step();
    shell(
        "DELETE FROM InvoiceLine WHERE InvoiceId IN (1, 1000); DELETE FROM Invoice WHERE "
        "InvoiceId IN (1, 1000); DELETE FROM PlaylistTrack WHERE PlaylistId = 8;"
        "BEGIN; DELETE FROM PlaylistTrack; ROLLBACK");
    expect_in_step();
    stop();
    expect_ok({"verify"});
}

TEST_F(ChinookTest, FollowsOneTransactionOfThousandsOfRows) {
    given_running_services();
    shell("UPDATE Track SET UnitPrice = UnitPrice / 3.0, Bytes = -Bytes WHERE TrackId <= 3000");
    expect_in_step();
    EXPECT_EQ(source("SELECT count(*) FROM instep_log"), "3000");
    stop();
    expect_ok({"verify"});
}

TEST_F(ChinookTest, FollowsCascadesIntoATableThatIsPublishedLater) {
    given_running_services();
    shell(
        "CREATE TABLE Review (ReviewId INTEGER PRIMARY KEY, CustomerId INTEGER NOT NULL "
        "REFERENCES Customer ON UPDATE CASCADE ON DELETE CASCADE, Stars REAL, Words TEXT);"
        "INSERT INTO Review SELECT InvoiceId, CustomerId, Total / 7, BillingCity FROM Invoice;"
        "INSERT INTO Customer (CustomerId, FirstName, LastName, Email) "
        "VALUES (70, 'A', 'B', 'c@example.org'), (71, 'D', 'E', 'f@example.org');"
        "INSERT INTO Review VALUES (5000, 70, 1, 'good'), (5001, 70, 2, NULL), (5002, 71, 3, '')");
    stop();
    given_file("store.toml", fmt::format("{}{}", kStore, kReviews));
    given_file("player.toml", fmt::format("{}{}", kPlayer, kReviewReplica));
    given_running_services();
    expect_equal(kReviewsCopy);
    shell(
        "DELETE FROM Customer WHERE CustomerId = 70;"
        "UPDATE Customer SET CustomerId = 72 WHERE CustomerId = 71");
    expect_in_step();
    expect_equal(kReviewsCopy);
    EXPECT_EQ(source("SELECT count(*) FROM Review WHERE ReviewId >= 5000"), "1");
    stop();
    expect_ok({"verify"});
}

}  // namespace
}  // namespace instep::test
