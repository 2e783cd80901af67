#include "instep/db/sqlite/database.hpp"

#include "tests/support/manual_clock.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <sqlite3.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace instep {

namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ErrorCode code(const auto& result) { return result.error().code; }

class SqliteDatabase : public ::testing::Test {
protected:
    std::unique_ptr<Database> open(SqliteOptions options = {}) {
        return open_sqlite("sqlite:" + path_, clock_, options).value();
    }

    std::unique_ptr<Connection> connect(ConnectOptions options = {}) {
        return open()->connect(options).value();
    }

    void given_file(std::string_view content) { std::ofstream(path_) << content; }

    static Transaction begin(Connection& connection, TransactionMode mode) {
        return Transaction::begin(connection, mode).value();
    }

    static std::string text(Connection& connection, std::string_view sql) {
        const auto rows = connection.query(sql, {}).value();
        return rows->next().value() ? std::string(rows->text(0)) : std::string();
    }

    static std::int64_t integer(Connection& connection, std::string_view sql) {
        const auto rows = connection.query(sql, {}).value();
        return rows->next().value() ? rows->integer(0) : -1;
    }

    /// Appends `bytes` in one commit.
    static void commit(Connection& connection, std::size_t bytes) {
        auto transaction = begin(connection, TransactionMode::kWrite);
        const std::string filler(bytes, 'x');
        transaction.execute("INSERT INTO filler VALUES ($1)", {std::string_view(filler)}).value();
        transaction.commit().value();
    }

    [[nodiscard]] std::uintmax_t log_bytes() const {
        return std::filesystem::file_size(path_ + "-wal");
    }

    test::TempDir dir_;
    std::string path_ = dir_.file("test.db");
    test::ManualClock clock_;
};

}  // namespace

TEST_F(SqliteDatabase, TakesUrlsAndPaths) {
    for (const std::string& url : {path_, "sqlite:" + path_, "sqlite://" + path_}) {
        const auto database = open_sqlite(url, clock_).value();
        EXPECT_EQ(database->display_url(), "sqlite:" + path_);
        EXPECT_TRUE(database->connect());
    }
}

TEST_F(SqliteDatabase, RefusesUrlsThatNameNoFile) {
    for (const std::string_view url :
         {"", "sqlite:", "sqlite://host/x.db", "postgresql:///x", "sqlite::memory:", ":memory:"}) {
        const auto database = open_sqlite(url, clock_);
        ASSERT_FALSE(database) << url;
        EXPECT_EQ(code(database), ErrorCode::kInvalidArgument) << url;
    }
}

TEST_F(SqliteDatabase, CreatesNothingUnlessAsked) {
    const auto connection = open({.create = SqliteCreate::kNever})->connect();

    ASSERT_FALSE(connection);
    EXPECT_EQ(code(connection), ErrorCode::kNotFound);
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SqliteDatabase, SaysThatTheDirectoryIsMissing) {
    path_ = dir_.file("missing/test.db");
    const auto connection = open()->connect();

    ASSERT_FALSE(connection);
    EXPECT_EQ(code(connection), ErrorCode::kNotFound);
    EXPECT_THAT(connection.error().message, HasSubstr(path_));
    EXPECT_THAT(connection.error().message, HasSubstr("create its directory"));
}

TEST_F(SqliteDatabase, RefusesADirectory) {
    path_ = dir_.path().string();

    EXPECT_EQ(code(open()->connect()), ErrorCode::kInvalidArgument);
}

TEST_F(SqliteDatabase, RefusesAFileThatIsNoDatabase) {
    given_file(std::string(4096, '?'));
    const auto connection = open()->connect();

    ASSERT_FALSE(connection);
    EXPECT_EQ(code(connection), ErrorCode::kCorrupt);
    EXPECT_THAT(connection.error().message, HasSubstr(path_));
}

TEST_F(SqliteDatabase, RefusesAFileThatItMayNotWrite) {
    connect()->execute_script("CREATE TABLE t (id)").value();
    std::filesystem::permissions(path_, std::filesystem::perms(0444));
    std::filesystem::permissions(dir_.path(), std::filesystem::perms(0777));
    const bool root = geteuid() == 0;
    if (root) {
        ASSERT_EQ(seteuid(65534), 0);
    }
    const auto connection = open()->connect();
    if (root) {
        ASSERT_EQ(seteuid(0), 0);
    }

    ASSERT_FALSE(connection);
    EXPECT_EQ(code(connection), ErrorCode::kPermissionDenied);
}

TEST_F(SqliteDatabase, TakesAPathThatLooksLikeAUri) {
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(dir_.path());
    const auto connection = open_sqlite("file:odd?mode=memory", clock_).value()->connect();
    std::filesystem::current_path(before);

    ASSERT_TRUE(connection);
    EXPECT_TRUE(std::filesystem::exists(dir_.file("file:odd?mode=memory")));
}

TEST_F(SqliteDatabase, KeepsAWriteAheadLogAndForeignKeys) {
    const auto connection = connect();

    EXPECT_EQ(text(*connection, "PRAGMA journal_mode"), "wal");
    EXPECT_EQ(integer(*connection, "PRAGMA foreign_keys"), 1);
    EXPECT_EQ(integer(*connection, "PRAGMA wal_autocheckpoint"), 0);
}

TEST_F(SqliteDatabase, SynchronizesAsTheDurabilityAsks) {
    EXPECT_EQ(integer(*connect({.durability = Durability::kFull}), "PRAGMA synchronous"), 2);
    EXPECT_EQ(integer(*connect({.durability = Durability::kProcess}), "PRAGMA synchronous"), 1);
}

TEST_F(SqliteDatabase, ConvertsAFileOfAnotherJournalMode) {
    connect()->execute("PRAGMA journal_mode = DELETE", {}).value();

    EXPECT_EQ(text(*connect(), "PRAGMA journal_mode"), "wal");
}

TEST_F(SqliteDatabase, SaysBusyWhenTheFileStaysLocked) {
    sqlite3* holder = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &holder), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(holder, "BEGIN EXCLUSIVE", nullptr, nullptr, nullptr), SQLITE_OK);

    EXPECT_EQ(code(open()->connect({.lock_patience = 2ms})), ErrorCode::kBusy);
    EXPECT_EQ(sqlite3_close(holder), SQLITE_OK);
    EXPECT_TRUE(open()->connect({.lock_patience = 2ms}));
}

TEST_F(SqliteDatabase, IsCreatedByManyAtOnce) {
    for (int round = 0; round < 40; ++round) {
        path_ = dir_.file("test-" + std::to_string(round) + ".db");
        std::vector<std::thread> callers;
        for (int i = 0; i < 6; ++i) {
            callers.emplace_back([this] { EXPECT_TRUE(open()->connect()); });
        }
        for (std::thread& caller : callers) {
            caller.join();
        }
    }
}

TEST_F(SqliteDatabase, UsesTheGivenClock) {
    const auto connection = connect();
    const Timestamp before = connection->now().value();
    clock_.advance(5s);

    EXPECT_EQ(connection->now().value() - before, 5s);
}

TEST_F(SqliteDatabase, KeepsTheTokenWhileNothingChanges) {
    const auto connection = connect();
    connection->execute_script("CREATE TABLE t (id)").value();

    EXPECT_EQ(connection->change_token().value(), connection->change_token().value());
}

TEST_F(SqliteDatabase, ChangesTheTokenWhenAnotherProcessCommits) {
    int go[2];
    ASSERT_EQ(pipe(go), 0);
    const pid_t child = fork();
    if (child == 0) {
        char byte = 0;
        const bool told = read(go[0], &byte, 1) == 1;
        _exit(told && connect()->execute_script("INSERT INTO t VALUES (1)") ? 0 : 1);
    }
    const auto connection = connect();
    connection->execute_script("CREATE TABLE t (id)").value();
    const auto token = connection->change_token().value();
    ASSERT_EQ(write(go[1], "g", 1), 1);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);

    EXPECT_NE(connection->change_token().value(), token);
    close(go[0]);
    close(go[1]);
}

TEST_F(SqliteDatabase, KeepsNothingOfATransactionThatFilledTheStorage) {
    const auto connection = connect();
    connection->execute_script("CREATE TABLE filler (body); PRAGMA max_page_count = 50").value();
    {
        auto transaction = begin(*connection, TransactionMode::kWrite);
        transaction.execute("INSERT INTO filler VALUES ('first')").value();
        const std::string large(1 << 20, 'x');
        const auto outcome =
            transaction.execute("INSERT INTO filler VALUES ($1)", {std::string_view(large)});
        ASSERT_FALSE(outcome);
        EXPECT_EQ(code(outcome), ErrorCode::kStorageFull);
        EXPECT_THAT(outcome.error().message, HasSubstr("free space"));
    }

    EXPECT_EQ(integer(*connection, "SELECT count(*) FROM filler"), 0);
    commit(*connection, 10);
    EXPECT_EQ(integer(*connection, "SELECT count(*) FROM filler"), 1);
}

TEST_F(SqliteDatabase, WritesNothingMoreInATransactionThatSqliteEnded) {
    const auto connection = connect();
    connection
        ->execute_script(
            "CREATE TABLE t (id); CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.id = 2 "
            "BEGIN SELECT RAISE(ROLLBACK, 'two is refused'); END")
        .value();
    {
        auto transaction = begin(*connection, TransactionMode::kWrite);
        transaction.execute("INSERT INTO t VALUES (1)").value();
        EXPECT_EQ(code(transaction.execute("INSERT INTO t VALUES (2)")), ErrorCode::kRejected);
        EXPECT_EQ(code(transaction.execute("INSERT INTO t VALUES (3)")), ErrorCode::kClosed);
        EXPECT_EQ(code(connection->execute_script("INSERT INTO t VALUES (4)")), ErrorCode::kClosed);
        EXPECT_EQ(code(transaction.commit()), ErrorCode::kClosed);
    }

    EXPECT_EQ(integer(*connection, "SELECT count(*) FROM t"), 0);
    EXPECT_TRUE(Transaction::begin(*connection, TransactionMode::kWrite));
}

TEST_F(SqliteDatabase, RefusesToStoreNanAsNull) {
    const auto connection = connect();
    connection->execute_script("CREATE TABLE t (value REAL)").value();
    const ValueView nan[] = {std::numeric_limits<double>::quiet_NaN()};

    EXPECT_EQ(code(connection->execute("INSERT INTO t VALUES ($1)", nan)), ErrorCode::kRejected);
}

TEST_F(SqliteDatabase, RefusesParametersThatAreNotNumbered) {
    const auto connection = connect();
    const ValueView one[] = {std::int64_t{1}};

    for (const std::string_view sql :
         {"SELECT ?", "SELECT ?1", "SELECT :one", "SELECT $one", "SELECT $0", "SELECT $-1"}) {
        EXPECT_EQ(code(connection->query(sql, one)), ErrorCode::kInvalidArgument) << sql;
    }
}

TEST_F(SqliteDatabase, RefusesATextInDoubleQuotes) {
    const auto connection = connect();

    EXPECT_EQ(code(connection->query("SELECT \"no such column\"", {})),
              ErrorCode::kInvalidArgument);
}

TEST_F(SqliteDatabase, BoundsTheWriteAheadLog) {
    const auto connection = connect({.durability = Durability::kProcess});
    connection->execute_script("CREATE TABLE filler (body)").value();
    for (int i = 0; i < 60; ++i) {
        commit(*connection, 1 << 20);
    }

    EXPECT_LT(log_bytes(), 20U << 20);
    EXPECT_EQ(integer(*connection, "SELECT count(*) FROM filler"), 60);
}

TEST_F(SqliteDatabase, BoundsTheWriteAheadLogOfStatementsWithoutATransaction) {
    const auto connection = connect({.durability = Durability::kProcess});
    connection->execute_script("CREATE TABLE filler (body)").value();
    for (int i = 0; i < 60; ++i) {
        connection->execute("INSERT INTO filler VALUES (zeroblob(1 << 20))", {}).value();
    }

    EXPECT_LT(log_bytes(), 20U << 20);
}

TEST_F(SqliteDatabase, CatchesUpWithTheLogWhenALongReaderIsGone) {
    const auto connection = connect({.durability = Durability::kProcess});
    connection->execute_script("CREATE TABLE filler (body)").value();
    commit(*connection, 10);
    const auto reader = connect();
    {
        auto reading = begin(*reader, TransactionMode::kRead);
        for (int i = 0; i < 40; ++i) {
            commit(*connection, 1 << 20);
        }
        EXPECT_GT(log_bytes(), 40U << 20);
    }
    for (int i = 0; i < 40; ++i) {
        commit(*connection, 1 << 20);
    }

    EXPECT_LT(log_bytes(), 80U << 20);
    EXPECT_EQ(text(*connection, "PRAGMA integrity_check"), "ok");
}

TEST_F(SqliteDatabase, KeepsEveryCommitOfWritersThatAllCheckpoint) {
    connect()->execute_script("CREATE TABLE filler (body)").value();
    const auto write = [this] {
        const auto own =
            connect({.durability = Durability::kProcess, .lock_patience = 60s, .cache_kib = 64});
        for (int i = 0; i < 200; ++i) {
            commit(*own, 200'000);
        }
    };
    std::vector<std::thread> writers;
    for (int i = 0; i < 3; ++i) {
        writers.emplace_back(write);
    }
    for (std::thread& writer : writers) {
        writer.join();
    }

    const auto connection = connect();
    EXPECT_EQ(integer(*connection, "SELECT count(*) FROM filler"), 600);
    EXPECT_EQ(text(*connection, "PRAGMA integrity_check"), "ok");
    EXPECT_LT(log_bytes(), 64U << 20);
}

/// Sees the checkpointer open its handle, and then tries to write on another one.
class WriteProbe {
public:
    explicit WriteProbe(const std::string& path) {
        EXPECT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK);
        sqlite3_auto_extension(&on_open);
    }
    ~WriteProbe() {
        sqlite3_cancel_auto_extension(&on_open);
        sqlite3_close(std::exchange(handle, nullptr));
    }

    static inline int outcome = SQLITE_OK;

private:
    static void on_open() {
        outcome = sqlite3_exec(handle, "BEGIN IMMEDIATE; ROLLBACK", nullptr, nullptr, nullptr);
    }

    static inline sqlite3* handle = nullptr;
};

TEST_F(SqliteDatabase, KeepsWritersOutWhileItCopiesTheLogBack) {
    const auto connection = connect({.durability = Durability::kProcess});
    connection->execute_script("CREATE TABLE filler (body)").value();
    const WriteProbe probe(path_);
    for (int i = 0; i < 20; ++i) {
        commit(*connection, 1 << 20);
    }

    EXPECT_EQ(WriteProbe::outcome, SQLITE_BUSY);
}

TEST_F(SqliteDatabase, LeavesAnAdoptedHandleAsItWas) {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &handle), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(handle, "CREATE TABLE t (id); BEGIN; INSERT INTO t VALUES (1)", nullptr,
                           nullptr, nullptr),
              SQLITE_OK);
    {
        const auto adopted = adopt_sqlite(handle, clock_).value();
        auto transaction = Transaction::join(*adopted);
        transaction.execute("INSERT INTO t VALUES ($1)", {std::int64_t{2}}).value();
        const auto open_cursor = transaction.query("SELECT id FROM t").value();
        ASSERT_TRUE(transaction.commit());
    }
    EXPECT_EQ(sqlite3_get_autocommit(handle), 0);
    EXPECT_EQ(sqlite3_exec(handle, "COMMIT", nullptr, nullptr, nullptr), SQLITE_OK);
    EXPECT_EQ(sqlite3_close(handle), SQLITE_OK);

    const auto connection = connect();
    EXPECT_EQ(integer(*connection, "SELECT count(*) FROM t"), 2);
}

TEST_F(SqliteDatabase, GivesAnAdoptedHandleTransactionsOfItsOwn) {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &handle), SQLITE_OK);
    {
        const auto adopted = adopt_sqlite(handle, clock_).value();
        auto transaction = begin(*adopted, TransactionMode::kWrite);
        transaction.execute("CREATE TABLE t (id)").value();
        ASSERT_TRUE(transaction.commit());
        EXPECT_EQ(code(adopted->execute("INSERT INTO nowhere VALUES (1)", {})),
                  ErrorCode::kNotFound);
    }
    EXPECT_EQ(sqlite3_close(handle), SQLITE_OK);
    EXPECT_EQ(code(adopt_sqlite(nullptr, clock_)), ErrorCode::kInvalidArgument);
}

TEST_F(SqliteDatabase, DropsMemoryWithItsLastConnection) {
    auto database = open_sqlite_in_memory(clock_).value();
    auto other = open_sqlite_in_memory(clock_).value();
    database->connect().value()->execute_script("CREATE TABLE t (id)").value();

    EXPECT_TRUE(database->connect().value()->query("SELECT * FROM t", {}));
    EXPECT_EQ(code(other->connect().value()->query("SELECT * FROM t", {})), ErrorCode::kNotFound);
}

TEST_F(SqliteDatabase, DescribesKeysAsSqliteKeepsThem) {
    const auto connection = connect();
    connection
        ->execute_script(
            "CREATE TABLE number (id INTEGER PRIMARY KEY, name VARCHAR(50), any_type);"
            "CREATE TABLE falling (id INTEGER PRIMARY KEY DESC);"
            "CREATE TABLE word (id TEXT PRIMARY KEY);"
            "CREATE TABLE compact (id TEXT PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE odd (id INT, twice INT AS (id * 2), UNIQUE (id))")
        .value();
    const auto describe = [&](std::string_view table) {
        return connection->dialect().describe_table(*connection, table).value();
    };

    EXPECT_TRUE(describe("number").columns[0].not_null);
    EXPECT_EQ(describe("number").columns[1].declared_type, "VARCHAR(50)");
    EXPECT_EQ(describe("number").columns[2].declared_type, "");
    EXPECT_FALSE(describe("falling").columns[0].not_null);
    EXPECT_FALSE(describe("word").columns[0].not_null);
    EXPECT_THAT(describe("word").unique_indexes, IsEmpty());
    EXPECT_TRUE(describe("compact").columns[0].not_null);
    EXPECT_TRUE(describe("odd").columns[1].generated);
    EXPECT_THAT(describe("odd").unique_indexes, ElementsAre("sqlite_autoindex_odd_1"));
}

TEST_F(SqliteDatabase, ListsNoTablesOfVirtualOnes) {
    const auto connection = connect();
    connection
        ->execute_script(
            "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT);"
            "CREATE VIRTUAL TABLE search USING fts5 (body)")
        .value();

    EXPECT_THAT(connection->dialect().list_tables(*connection).value(), ElementsAre("t"));
}

}  // namespace instep
