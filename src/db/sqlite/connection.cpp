#include "connection.hpp"

#include "cursor.hpp"
#include "instep/db/sqlite/database.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::sqlite {

namespace {

/// What the log keeps of its size on disk when it starts over.
constexpr int kLogBytesKept = 64 << 20;

}  // namespace

SqliteConnection::SqliteConnection(sqlite3* handle, std::string display_url, const Clock& clock)
    : database_{handle, std::move(display_url)}, clock_(&clock) {}

SqliteConnection::~SqliteConnection() {
    close_cursors();
    rollback();
}

Result<std::unique_ptr<SqliteConnection>> SqliteConnection::configure(
    Handle handle, std::optional<std::string> file_path, std::string display_url,
    const ConnectOptions& options, const Clock& clock) {
    auto connection =
        std::make_unique<SqliteConnection>(handle.get(), std::move(display_url), clock);
    connection->owned_ = std::move(handle);
    INSTEP_TRY(connection->apply(options));
    if (file_path) {
        INSTEP_TRY(connection->use_write_ahead_log());
        connection->checkpointer_ =
            std::make_unique<Checkpointer>(*std::move(file_path), connection->database_);
        connection->checkpointer_->watch(connection->owned_.get());
    }
    return connection;
}

Result<void> SqliteConnection::apply(const ConnectOptions& options) {
    sqlite3* handle = database_.handle;
    if (sqlite3_db_readonly(handle, "main") == 1) {
        return fail(ErrorCode::kPermissionDenied,
                    fmt::format("{} is read-only; let this user write the file and its directory",
                                database_.display_url));
    }
    lock_waiter_.set_patience(options.lock_patience);
    lock_waiter_.install(handle);
    // A misspelt column in double quotes must be an error, not a text.
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
    INSTEP_TRY(run("PRAGMA temp_store = MEMORY"));
    INSTEP_TRY(run(fmt::format("PRAGMA cache_size = -{}", options.cache_kib).c_str()));
    return run(options.durability == Durability::kFull ? "PRAGMA synchronous = FULL"
                                                       : "PRAGMA synchronous = NORMAL");
}

Result<void> SqliteConnection::use_write_ahead_log() {
    // SQLite does not call the busy handler for every lock that the change needs.
    for (int waits = 0;; ++waits) {
        const auto mode = pragma("PRAGMA journal_mode = WAL");
        if (mode && *mode == "wal") {
            return run(fmt::format("PRAGMA journal_size_limit = {}", kLogBytesKept).c_str());
        }
        if (mode) {
            return fail(ErrorCode::kUnsupported,
                        fmt::format("{} cannot use a write-ahead log; put it on a local disk",
                                    database_.display_url));
        }
        if (mode.error().code != ErrorCode::kBusy || !lock_waiter_.wait(waits)) {
            return std::unexpected(mode.error());
        }
    }
}

/// The first column of the first row, as text.
Result<std::string> SqliteConnection::pragma(const char* sql) {
    INSTEP_TRY_ASSIGN(auto rows, query(sql, {}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    return found ? std::string(rows->text(0)) : std::string();
}

Result<void> SqliteConnection::run(const char* sql) {
    const int code = sqlite3_exec(database_.handle, sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) {
        return database_.failure(code, sql);
    }
    return {};
}

bool SqliteConnection::in_transaction() const noexcept {
    return sqlite3_get_autocommit(database_.handle) == 0;
}

/// SQLite ends a transaction by itself after some errors (disk full, RAISE(ROLLBACK)). What
/// the caller still sends then must not be committed statement by statement.
Result<void> SqliteConnection::check_transaction_lives() const {
    if (state_ != State::kIdle && !in_transaction()) {
        return fail(ErrorCode::kClosed,
                    fmt::format("{}: the transaction was rolled back by an earlier error; begin "
                                "it again",
                                database_.display_url));
    }
    return {};
}

Result<StatementCache::Lease> SqliteConnection::prepare(std::string_view sql,
                                                        std::size_t parameter_count) {
    INSTEP_TRY(check_transaction_lives());
    INSTEP_TRY_ASSIGN(auto statement, statements_.take(sql));
    if (statement->parameter_count() != parameter_count) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("{}: {} parameters were given, not {} (in \"{}\")", database_.display_url,
                        parameter_count, statement->parameter_count(), sql));
    }
    if (state_ == State::kReading && !statement->reads_only()) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: a transaction begun for reading cannot write (in \"{}\")",
                                database_.display_url, sql));
    }
    return statement;
}

Result<void> SqliteConnection::bind(StatementCache::Lease& statement,
                                    std::span<const ValueView> parameters, ParameterBytes bytes) {
    const int code = statement->bind(parameters, bytes);
    if (code == SQLITE_MISMATCH) {
        return fail(ErrorCode::kRejected, fmt::format("{}: SQLite cannot store NaN (in \"{}\")",
                                                      database_.display_url, statement.sql()));
    }
    if (code != SQLITE_OK) {
        return database_.failure(code, statement.sql());
    }
    return {};
}

/// To the end; how many rows it changed. sqlite3_changes64() alone keeps the count of an
/// earlier statement if this one is not an INSERT, UPDATE or DELETE.
Result<std::int64_t> SqliteConnection::run(StatementCache::Lease& statement) {
    const std::int64_t total_before = sqlite3_total_changes64(database_.handle);
    int code = SQLITE_ROW;
    while (code == SQLITE_ROW) {
        code = statement->step();
    }
    if (code != SQLITE_DONE) {
        return database_.failure(code, statement.sql());
    }
    const bool unchanged = sqlite3_total_changes64(database_.handle) == total_before;
    const std::int64_t changed = unchanged ? 0 : sqlite3_changes64(database_.handle);
    statement->reset();
    return changed;
}

Result<std::unique_ptr<Cursor>> SqliteConnection::query(std::string_view sql,
                                                        std::span<const ValueView> parameters) {
    INSTEP_TRY_ASSIGN(auto statement, prepare(sql, parameters.size()));
    INSTEP_TRY(bind(statement, parameters, ParameterBytes::kCopied));
    auto cursor = std::make_unique<SqliteCursor>(*this, std::move(statement));
    INSTEP_TRY(cursor->fetch());
    return cursor;
}

Result<std::int64_t> SqliteConnection::execute(std::string_view sql,
                                               std::span<const ValueView> parameters) {
    std::int64_t changed = 0;
    {
        INSTEP_TRY_ASSIGN(auto statement, prepare(sql, parameters.size()));
        INSTEP_TRY(bind(statement, parameters, ParameterBytes::kBorrowed));
        INSTEP_TRY_ASSIGN(changed, run(statement));
    }
    checkpoint_if_due();
    return changed;
}

Result<std::vector<std::int64_t>> SqliteConnection::execute_many(std::string_view sql,
                                                                 ParameterRows rows) {
    INSTEP_TRY_ASSIGN(auto statement, prepare(sql, rows.columns));
    if (!in_transaction() || rows.columns == 0 || rows.values.size() % rows.columns != 0) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: {} values in rows of {} within {} transaction (in \"{}\")",
                                database_.display_url, rows.values.size(), rows.columns,
                                in_transaction() ? "a" : "no", sql));
    }
    std::vector<std::int64_t> changed;
    changed.reserve(rows.values.size() / rows.columns);
    for (std::size_t at = 0; at < rows.values.size(); at += rows.columns) {
        INSTEP_TRY(
            bind(statement, rows.values.subspan(at, rows.columns), ParameterBytes::kBorrowed));
        INSTEP_TRY_ASSIGN(const std::int64_t count, run(statement));
        changed.push_back(count);
    }
    return changed;
}

Result<void> SqliteConnection::execute_script(std::string_view sql) {
    INSTEP_TRY(check_transaction_lives());
    if (state_ == State::kReading || sql.find('\0') != std::string_view::npos) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: a script must hold no zero byte, and needs a transaction "
                                "that may write, or none",
                                database_.display_url));
    }
    return run(std::string(sql).c_str());
}

Result<void> SqliteConnection::begin(TransactionMode mode) {
    if (state_ != State::kIdle || in_transaction()) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: this connection has a transaction open; end it, or use "
                                "another connection",
                                database_.display_url));
    }
    const bool writes = mode == TransactionMode::kWrite;
    INSTEP_TRY(execute(writes ? "BEGIN IMMEDIATE" : "BEGIN", {}));
    if (!writes) {
        auto snapshot = execute("SELECT 1 FROM sqlite_schema LIMIT 1", {});
        if (!snapshot) {
            rollback();
            return std::unexpected(std::move(snapshot).error());
        }
    }
    state_ = writes ? State::kWriting : State::kReading;
    return {};
}

Result<void> SqliteConnection::commit() {
    close_cursors();
    INSTEP_TRY(execute("COMMIT", {}));
    state_ = State::kIdle;
    return {};
}

void SqliteConnection::rollback() noexcept {
    if (state_ == State::kIdle) {
        return;
    }
    close_cursors();
    if (in_transaction()) {
        sqlite3_exec(database_.handle, "ROLLBACK", nullptr, nullptr, nullptr);
    }
    state_ = State::kIdle;
}

Result<std::uint64_t> SqliteConnection::change_token() {
    INSTEP_TRY_ASSIGN(auto rows, query("PRAGMA data_version", {}));
    INSTEP_TRY(rows->next());
    return static_cast<std::uint64_t>(rows->integer(0));
}

Result<Timestamp> SqliteConnection::now() { return clock_->now(); }

const Dialect& SqliteConnection::dialect() const { return sqlite_dialect(); }

void SqliteConnection::close_cursors() noexcept {
    while (!cursors_.empty()) {
        cursors_.back()->close();
    }
}

/// Without waiting, unless the log is very long: a writer that is faster has the same duty.
void SqliteConnection::checkpoint_if_due() {
    if (!checkpointer_ || !checkpointer_->due() || in_transaction()) {
        return;
    }
    const auto patience = lock_waiter_.patience();
    lock_waiter_.set_patience(checkpointer_->urgent() ? patience : std::chrono::microseconds{0});
    if (run("BEGIN IMMEDIATE")) {
        checkpointer_->run();
        static_cast<void>(run("ROLLBACK"));
    }
    lock_waiter_.set_patience(patience);
}

}  // namespace instep::sqlite
