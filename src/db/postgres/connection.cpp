#include "connection.hpp"

#include "copy_text.hpp"
#include "failure.hpp"
#include "instep/base/bytes.hpp"
#include "instep/concurrency/wake_up.hpp"
#include "instep/db/postgres/database.hpp"
#include "own_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace instep::postgres {

namespace {

using namespace std::chrono_literals;

/// For so long the server's clock is taken to run as ours does.
constexpr std::chrono::microseconds kClockKept = 5s;

/// Rows on their way in a pipeline at once, so that neither side's buffer runs full.
constexpr std::size_t kPipelineRowsMax = 256;

/// Bytes handed to COPY at once.
constexpr std::size_t kCopyPiece = 1 << 20;

bool changes_rows(std::string_view command) {
    static constexpr std::array<std::string_view, 4> kCommands = {"INSERT", "UPDATE", "DELETE",
                                                                  "MERGE"};
    return std::ranges::any_of(kCommands,
                               [&](std::string_view word) { return command.starts_with(word); });
}

std::int64_t rows_changed(PGresult* result) {
    std::int64_t rows = 0;
    if (changes_rows(PQcmdStatus(result))) {
        const std::string_view text = PQcmdTuples(result);
        std::from_chars(text.data(), text.data() + text.size(), rows);
    }
    return rows;
}

/// Statements that come again. Others (BEGIN, CREATE, …) are not worth keeping prepared.
bool is_worth_keeping(std::string_view sql) {
    static constexpr std::array<std::string_view, 5> kBeginnings = {"SELECT", "INSERT", "UPDATE",
                                                                    "DELETE", "WITH"};
    return std::ranges::any_of(kBeginnings,
                               [&](std::string_view word) { return sql.starts_with(word); });
}

/// Returns nothing, and fails unless something holds.
bool is_condition(std::string_view sql) { return sql.starts_with("SELECT instep.require_"); }

}  // namespace

PostgresConnection::PostgresConnection(SessionOptions options, Session session, const Clock& clock)
    : options_(std::move(options)),
      owned_(std::move(session.handle)),
      handle_(owned_.get()),
      is_pooled_(session.is_pooled),
      clock_(clock),
      statements_(is_pooled_ ? Keeping::kOneUse : Keeping::kSession) {}

PostgresConnection::PostgresConnection(PGconn* handle, std::string display_url, const Clock& clock)
    : handle_(handle), clock_(clock), statements_(Keeping::kOneUse) {
    options_.display_url = std::move(display_url);
}

Result<std::unique_ptr<PostgresConnection>> PostgresConnection::open(SessionOptions options,
                                                                     const Clock& clock) {
    INSTEP_TRY_ASSIGN(Session session, open_session(options));
    return std::unique_ptr<PostgresConnection>(
        new PostgresConnection(std::move(options), std::move(session), clock));
}

PostgresConnection::~PostgresConnection() {
    rollback();
    ++*transactions_ended_;
}

bool PostgresConnection::in_transaction() const noexcept {
    return !deferred_.empty() || PQtransactionStatus(handle()) != PQTRANS_IDLE;
}

/// Only on our own session: nobody else's statement can come between.
bool PostgresConnection::can_defer(std::string_view sql) const noexcept {
    const bool answers_nothing = sql.starts_with("SAVEPOINT ") ||
                                 sql.starts_with("RELEASE SAVEPOINT") ||
                                 sql.starts_with("SET LOCAL ") || is_condition(sql);
    return answers_nothing && begun_ && owned_ != nullptr && !is_pooled_ &&
           PQtransactionStatus(handle()) != PQTRANS_INERROR;
}

Result<void> PostgresConnection::reopen_if_lost() {
    if (owned_ == nullptr || begun_ || PQstatus(handle()) == CONNECTION_OK) {
        return {};
    }
    INSTEP_TRY_ASSIGN(Session session, open_session(options_));
    lost_unflushed_ = lost_unflushed_ || std::exchange(has_unflushed_, false);
    owned_ = std::move(session.handle);
    handle_ = owned_.get();
    is_pooled_ = session.is_pooled;
    statements_ = StatementCache(is_pooled_ ? Keeping::kOneUse : Keeping::kSession);
    server_ahead_.reset();
    return {};
}

std::unexpected<Error> PostgresConnection::failed(const PGresult* result, std::string_view sql) {
    if (is_outdated_plan(result)) {
        statements_.forget(sql);
    }
    return failure(handle(), result, options_.display_url, sql);
}

template <class Call>
auto PostgresConnection::pinned(std::string_view sql, Call call) -> decltype(call()) {
    INSTEP_TRY(reopen_if_lost());
    if (!is_pooled_ || in_transaction() || !is_worth_keeping(sql)) {
        return call();
    }
    INSTEP_TRY(begin(TransactionMode::kWrite));
    auto done = call();
    if (!done) {
        rollback();
        return done;
    }
    const std::uint64_t ended = *transactions_ended_;
    INSTEP_TRY(commit());
    // The rows are all here; the caller knows of no transaction that they could end with.
    *transactions_ended_ = ended;
    return done;
}

Result<const Statement*> PostgresConnection::prepare(std::string_view sql,
                                                     std::size_t parameter_count) {
    if (sql.find('\0') != std::string_view::npos) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: the SQL holds a zero byte", options_.display_url));
    }
    if (!statements_.holds(sql)) {
        INSTEP_TRY(run_deferred());
    }
    StatementCache::Prepared prepared = statements_.take(handle(), sql);
    if (prepared.statement == nullptr) {
        return failed(prepared.failure.get(), sql);
    }
    if (prepared.statement->parameter_types.size() != parameter_count) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("{}: {} parameters were given, not {} (in \"{}\")", options_.display_url,
                        parameter_count, prepared.statement->parameter_types.size(), sql));
    }
    return prepared.statement;
}

Result<ServerResult> PostgresConnection::run_prepared(std::string_view sql,
                                                      const Statement& statement, Then then) {
    const auto run_with = [&](auto call) {
        return call(handle(), statement.name.c_str(), parameters_.count(), parameters_.values(),
                    parameters_.lengths(), parameters_.formats(), statement.result_format);
    };
    ServerResult result =
        deferred_.empty() && then == Then::kNothing
            ? ServerResult(run_with(PQexecPrepared))
            : run_behind_deferred([&] { return run_with(PQsendQueryPrepared); }, then);
    if (PQresultStatus(result.get()) == PGRES_EMPTY_QUERY) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("{}: \"{}\" is not exactly one statement", options_.display_url, sql));
    }
    if (!is_good(result.get())) {
        return failed(result.get(), sql);
    }
    return result;
}

Result<void> PostgresConnection::take_parameters(std::span<const ValueView> parameters) {
    parameters_.clear();
    for (const ValueView& value : parameters) {
        INSTEP_TRY(parameters_.add(value));
    }
    parameters_.finish();
    return {};
}

Result<ServerResult> PostgresConnection::run(std::string_view sql,
                                             std::span<const ValueView> parameters) {
    INSTEP_TRY(take_parameters(parameters));
    if (parameters.empty() && can_defer(sql)) {
        if (is_condition(sql)) {
            INSTEP_TRY(prepare(sql, 0));
        }
        deferred_.emplace_back(sql);
        return ServerResult(PQmakeEmptyPGresult(handle(), PGRES_COMMAND_OK));
    }
    if (parameters.empty() && !is_worth_keeping(sql)) {
        INSTEP_TRY(run_deferred());
        const std::string translated = with_own_schema(sql);
        ServerResult result(PQexecParams(handle(), translated.c_str(), 0, nullptr, nullptr, nullptr,
                                         nullptr, kTextFormat));
        if (!is_good(result.get())) {
            if (PQresultStatus(result.get()) == PGRES_EMPTY_QUERY) {
                return fail(ErrorCode::kInvalidArgument,
                            fmt::format("{}: there is no statement", options_.display_url));
            }
            return failed(result.get(), sql);
        }
        return result;
    }
    INSTEP_TRY_ASSIGN(const Statement* statement, prepare(sql, parameters.size()));
    return run_prepared(sql, *statement);
}

Result<std::unique_ptr<Cursor>> PostgresConnection::query(std::string_view sql,
                                                          std::span<const ValueView> parameters) {
    return pinned(sql, [&]() -> Result<std::unique_ptr<Cursor>> {
        INSTEP_TRY_ASSIGN(ServerResult result, run(sql, parameters));
        return std::make_unique<PostgresCursor>(std::move(result), transactions_ended_);
    });
}

Result<std::unique_ptr<Cursor>> PostgresConnection::query_bulk(std::string_view sql,
                                                               ParameterRows rows) {
    return pinned(sql, [&]() -> Result<std::unique_ptr<Cursor>> {
        INSTEP_TRY_ASSIGN(const Statement* statement, prepare(sql, rows.columns));
        parameters_.clear();
        for (std::size_t column = 0; column < rows.columns; ++column) {
            INSTEP_TRY(parameters_.add_array(rows, column, statement->parameter_types[column]));
        }
        parameters_.finish();
        INSTEP_TRY_ASSIGN(ServerResult result, run_prepared(sql, *statement));
        return std::make_unique<PostgresCursor>(std::move(result), transactions_ended_);
    });
}

Result<std::int64_t> PostgresConnection::execute(std::string_view sql,
                                                 std::span<const ValueView> parameters) {
    return pinned(sql, [&]() -> Result<std::int64_t> {
        INSTEP_TRY_ASSIGN(const ServerResult result, run(sql, parameters));
        return rows_changed(result.get());
    });
}

Result<std::vector<std::int64_t>> PostgresConnection::execute_many(std::string_view sql,
                                                                   ParameterRows rows) {
    if (!in_transaction() || rows.columns == 0 || rows.values.size() % rows.columns != 0) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: {} values in rows of {} within {} transaction (in \"{}\")",
                                options_.display_url, rows.values.size(), rows.columns,
                                in_transaction() ? "a" : "no", sql));
    }
    INSTEP_TRY(run_deferred());
    INSTEP_TRY_ASSIGN(const Statement* statement, prepare(sql, rows.columns));
    const Statement kept = *statement;
    std::vector<std::int64_t> changed;
    const std::size_t piece = kPipelineRowsMax * rows.columns;
    for (std::size_t at = 0; at < rows.values.size(); at += piece) {
        const std::size_t size = std::min(piece, rows.values.size() - at);
        INSTEP_TRY_ASSIGN(const auto counts,
                          pipeline(sql, kept, {rows.columns, rows.values.subspan(at, size)}));
        changed.insert(changed.end(), counts.begin(), counts.end());
    }
    return changed;
}

Result<void> PostgresConnection::send_rows(const Statement& statement, ParameterRows rows) {
    for (std::size_t at = 0; at < rows.values.size(); at += rows.columns) {
        parameters_.clear();
        for (const ValueView& value : rows.values.subspan(at, rows.columns)) {
            INSTEP_TRY(parameters_.add(value));
        }
        parameters_.finish();
        if (PQsendQueryPrepared(handle(), statement.name.c_str(), parameters_.count(),
                                parameters_.values(), parameters_.lengths(), parameters_.formats(),
                                kTextFormat) == 0) {
            return failure(handle(), nullptr, options_.display_url);
        }
    }
    return {};
}

Result<std::vector<std::int64_t>> PostgresConnection::pipeline(std::string_view sql,
                                                               const Statement& statement,
                                                               ParameterRows rows) {
    PQenterPipelineMode(handle());
    std::optional<Error> error;
    if (auto sent = send_rows(statement, rows); !sent) {
        error = std::move(sent).error();
    }
    PQpipelineSync(handle());
    std::vector<std::int64_t> changed;
    for (;;) {
        const ServerResult result(PQgetResult(handle()));
        const ExecStatusType status = PQresultStatus(result.get());
        if (status == PGRES_PIPELINE_SYNC || PQstatus(handle()) == CONNECTION_BAD) {
            break;
        }
        if (result == nullptr) {
            continue;
        }
        if (is_good(result.get())) {
            changed.push_back(rows_changed(result.get()));
        } else if (!error && status != PGRES_PIPELINE_ABORTED) {
            error = failed(result.get(), sql).error();
        }
    }
    PQexitPipelineMode(handle());
    if (PQstatus(handle()) == CONNECTION_BAD && !error) {
        error = failure(handle(), nullptr, options_.display_url).error();
    }
    if (error) {
        return std::unexpected(*std::move(error));
    }
    return changed;
}

Result<void> PostgresConnection::copy_rows(std::string_view table, std::string_view columns,
                                           ParameterRows rows) {
    const std::string sql = with_own_schema(fmt::format("COPY {} ({}) FROM STDIN", table, columns));
    if (!in_transaction() || rows.columns == 0 || rows.values.size() % rows.columns != 0) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: {} values in rows of {} within {} transaction (in \"{}\")",
                                options_.display_url, rows.values.size(), rows.columns,
                                in_transaction() ? "a" : "no", sql));
    }
    INSTEP_TRY_ASSIGN(const std::string text, copy_text(rows));
    INSTEP_TRY(run_deferred());
    ServerResult result(PQexec(handle(), sql.c_str()));
    if (PQresultStatus(result.get()) != PGRES_COPY_IN) {
        return failed(result.get(), sql);
    }
    bool is_sent = true;
    for (std::size_t at = 0; at < text.size() && is_sent; at += kCopyPiece) {
        const std::size_t size = std::min(kCopyPiece, text.size() - at);
        is_sent = PQputCopyData(handle(), text.data() + at, static_cast<int>(size)) == 1;
    }
    is_sent = PQputCopyEnd(handle(), nullptr) == 1 && is_sent;
    result.reset(PQgetResult(handle()));
    while (const ServerResult rest{PQgetResult(handle())}) {
    }
    return is_sent && is_good(result.get()) ? Result<void>() : failed(result.get(), sql);
}

Result<void> PostgresConnection::simple(const std::string& sql) {
    const ServerResult result(PQexec(handle(), sql.c_str()));
    if (!is_good(result.get()) && PQresultStatus(result.get()) != PGRES_EMPTY_QUERY) {
        return failed(result.get(), sql);
    }
    return {};
}

Result<void> PostgresConnection::execute_script(std::string_view sql) {
    INSTEP_TRY(reopen_if_lost());
    if (sql.find('\0') != std::string_view::npos) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: a script must hold no zero byte", options_.display_url));
    }
    // A prepared statement keeps the types that its parameters had, also when a column's changed.
    statements_.forget_all();
    INSTEP_TRY(run_deferred());
    return simple(with_own_schema(sql));
}

Result<void> PostgresConnection::run_deferred() {
    std::string script;
    for (const std::string& command : std::exchange(deferred_, {})) {
        script += command + "; ";
    }
    return script.empty() ? Result<void>() : simple(script);
}

template <class Send>
ServerResult PostgresConnection::run_behind_deferred(Send send, Then then) {
    const std::vector<std::string> before = std::exchange(deferred_, {});
    const auto send_command = [&](const char* command) {
        PQsendQueryParams(handle(), command, 0, nullptr, nullptr, nullptr, nullptr, kTextFormat);
    };
    PQenterPipelineMode(handle());
    for (const std::string& command : before) {
        if (is_condition(command) && statements_.holds(command)) {
            const std::string name = statements_.take(handle(), command).statement->name;
            PQsendQueryPrepared(handle(), name.c_str(), 0, nullptr, nullptr, nullptr, kTextFormat);
        } else {
            send_command(command.c_str());
        }
    }
    send();
    if (then == Then::kCommit) {
        send_command("COMMIT");
    }
    PQpipelineSync(handle());
    const std::size_t expected = before.size() + (then == Then::kCommit ? 2 : 1);
    std::size_t good = 0;
    ServerResult answer;
    bool is_refused = false;
    for (;;) {
        ServerResult result(PQgetResult(handle()));
        const ExecStatusType status = PQresultStatus(result.get());
        if (status == PGRES_PIPELINE_SYNC || PQstatus(handle()) == CONNECTION_BAD) {
            break;
        }
        if (result == nullptr || is_refused) {
            continue;
        }
        is_refused = !is_good(result.get());
        if (is_refused || good == before.size()) {
            answer = std::move(result);
        }
        good += is_refused ? 0 : 1;
    }
    PQexitPipelineMode(handle());
    return is_refused || good == expected ? std::move(answer) : nullptr;
}

Result<void> PostgresConnection::begin(TransactionMode mode) {
    INSTEP_TRY(reopen_if_lost());
    if (begun_ || in_transaction()) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: this connection has a transaction open; end it, or use "
                                "another connection",
                                options_.display_url));
    }
    std::string script = mode == TransactionMode::kWrite
                             ? "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
                             : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    if (mode == TransactionMode::kWrite && owned_ != nullptr && !is_pooled_) {
        deferred_.push_back(std::move(script));
        begun_ = true;
        return {};
    }
    script += "; ";
    if (is_pooled_) {
        script += settings_script(options_.connect, "SET LOCAL");
    }
    if (mode == TransactionMode::kRead) {
        // The first query takes the snapshot.
        script += "SELECT pg_current_snapshot()";
    }
    if (auto begun = simple(script); !begun) {
        ServerResult(PQexec(handle(), "ROLLBACK"));
        return begun;
    }
    begun_ = true;
    return {};
}

Result<void> PostgresConnection::commit() {
    if (std::ranges::any_of(deferred_, &is_condition)) {
        if (auto held = run_deferred(); !held) {
            rollback();
            return held;
        }
    }
    ++*transactions_ended_;
    begun_ = false;
    // Savepoints end with the transaction; one that sent nothing never began.
    deferred_.clear();
    if (!in_transaction() && owned_ != nullptr && !is_pooled_ &&
        PQstatus(handle()) == CONNECTION_OK) {
        return {};
    }
    const ServerResult result(PQexec(handle(), "COMMIT"));
    if (!is_good(result.get())) {
        return failed(result.get(), "COMMIT");
    }
    if (std::string_view(PQcmdStatus(result.get())) == "ROLLBACK") {
        return fail(ErrorCode::kClosed,
                    fmt::format("{}: the transaction was rolled back because of an earlier error; "
                                "begin it again",
                                options_.display_url));
    }
    return {};
}

Result<std::int64_t> PostgresConnection::commit_behind(std::string_view sql,
                                                       std::span<const ValueView> parameters) {
    if (!begun_ || owned_ == nullptr || is_pooled_ || !is_worth_keeping(sql)) {
        return Connection::commit_behind(sql, parameters);
    }
    INSTEP_TRY(take_parameters(parameters));
    INSTEP_TRY_ASSIGN(const Statement* statement, prepare(sql, parameters.size()));
    INSTEP_TRY_ASSIGN(const ServerResult result, run_prepared(sql, *statement, Then::kCommit));
    ++*transactions_ended_;
    begun_ = false;
    return rows_changed(result.get());
}

void PostgresConnection::rollback() noexcept {
    if (!begun_) {
        return;
    }
    ++*transactions_ended_;
    begun_ = false;
    deferred_.clear();
    if (PQstatus(handle()) == CONNECTION_OK && in_transaction()) {
        ServerResult(PQexec(handle(), "ROLLBACK"));
    }
}

Result<bool> PostgresConnection::relax_commit() {
    if (owned_ == nullptr || is_pooled_) {
        // Nobody would tell us that the server has failed.
        return false;
    }
    has_unflushed_ = true;
    INSTEP_TRY(execute("SET LOCAL synchronous_commit = off", {}));
    return true;
}

/// The commit of a transaction that wrote something waits for all of the log before it.
Result<void> PostgresConnection::flush() {
    INSTEP_TRY(reopen_if_lost());
    if (std::exchange(lost_unflushed_, false)) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{}: the session ended before its last commits were on disk; they "
                                "are done again",
                                options_.display_url));
    }
    if (!has_unflushed_) {
        return {};
    }
    INSTEP_TRY(query("SELECT pg_logical_emit_message(true, 'instep.flush', '')", {}));
    has_unflushed_ = false;
    return {};
}

Result<bool> PostgresConnection::await_notification(const std::stop_token& stop,
                                                    std::chrono::milliseconds patience) {
    if (owned_ == nullptr || is_pooled_) {
        return fail(
            ErrorCode::kUnsupported,
            fmt::format("{}: a session that is shared is told nothing", options_.display_url));
    }
    for (bool has_waited = false;; has_waited = true) {
        if (PQconsumeInput(handle()) == 0) {
            return failure(handle(), nullptr, options_.display_url, "LISTEN");
        }
        bool told = false;
        while (PGnotify* const notification = PQnotifies(handle())) {
            PQfreemem(notification);
            told = true;
        }
        if (told || has_waited) {
            return told;
        }
        WakeUp().wait(PQsocket(handle()), stop, patience);
    }
}

Result<std::uint64_t> PostgresConnection::change_token() {
    INSTEP_TRY_ASSIGN(const auto rows, query("SELECT pg_current_snapshot()", {}));
    INSTEP_TRY(rows->next());
    return key_hash(rows->text(0));
}

Result<Timestamp> PostgresConnection::now() {
    auto monotonic = clock_.monotonic();
    if (!server_ahead_ || monotonic - asked_at_ > kClockKept) {
        INSTEP_TRY_ASSIGN(
            const auto rows,
            query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", {}));
        INSTEP_TRY(rows->next());
        monotonic = clock_.monotonic();
        server_ahead_ = std::chrono::microseconds{rows->integer(0)} - monotonic;
        asked_at_ = monotonic;
    }
    last_now_ = std::max(last_now_, Timestamp{monotonic + *server_ahead_});
    return last_now_;
}

const Dialect& PostgresConnection::dialect() const { return postgres_dialect(); }

}  // namespace instep::postgres
