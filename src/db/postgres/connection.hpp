#pragma once

#include "cursor.hpp"
#include "instep/base/clock.hpp"
#include "instep/db/connection.hpp"
#include "parameters.hpp"
#include "result.hpp"
#include "session.hpp"
#include "statement.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep::postgres {

/// One session. Opens itself again outside of transactions.
class PostgresConnection final : public Connection {
public:
    /// Opens the session. Errors: as Database::connect().
    static Result<std::unique_ptr<PostgresConnection>> open(SessionOptions options,
                                                            const Clock& clock);

    /// Over somebody else's handle.
    PostgresConnection(PGconn* handle, std::string display_url, const Clock& clock);
    ~PostgresConnection() override;

    Result<std::unique_ptr<Cursor>> query(std::string_view sql,
                                          std::span<const ValueView> parameters) override;
    Result<std::unique_ptr<Cursor>> query_bulk(std::string_view sql, ParameterRows rows) override;
    Result<std::int64_t> execute(std::string_view sql,
                                 std::span<const ValueView> parameters) override;
    Result<std::vector<std::int64_t>> execute_many(std::string_view sql,
                                                   ParameterRows rows) override;
    Result<void> copy_rows(std::string_view table, std::string_view columns,
                           ParameterRows rows) override;
    Result<void> execute_script(std::string_view sql) override;
    Result<void> begin(TransactionMode mode) override;
    Result<void> commit() override;
    Result<std::int64_t> commit_behind(std::string_view sql,
                                       std::span<const ValueView> parameters) override;
    void rollback() noexcept override;
    Result<bool> relax_commit() override;
    Result<void> flush() override;
    Result<bool> await_notification(const std::stop_token& stop,
                                    std::chrono::milliseconds patience) override;
    Result<std::uint64_t> change_token() override;
    Result<Timestamp> now() override;
    [[nodiscard]] const Dialect& dialect() const override;

private:
    PostgresConnection(SessionOptions options, Session session, const Clock& clock);

    [[nodiscard]] PGconn* handle() const noexcept { return handle_; }
    [[nodiscard]] bool in_transaction() const noexcept;
    Result<void> reopen_if_lost();

    /// Runs `call`, which is of one statement, within a transaction of its own where a pooler
    /// needs one.
    template <class Call>
    auto pinned(std::string_view sql, Call call) -> decltype(call());

    Result<const Statement*> prepare(std::string_view sql, std::size_t parameter_count);
    Result<ServerResult> run(std::string_view sql, std::span<const ValueView> parameters);
    Result<void> take_parameters(std::span<const ValueView> parameters);

    /// What follows a statement in its round trip.
    enum class Then : std::uint8_t { kNothing, kCommit };
    Result<ServerResult> run_prepared(std::string_view sql, const Statement& statement,
                                      Then then = Then::kNothing);
    Result<void> simple(const std::string& sql);

    /// Begins what was put off, now.
    Result<void> run_deferred();

    /// Sends what was put off, by `send` a statement, and what follows, in one round trip. The
    /// statement's result, or the first that is not good; null if not all of them came.
    template <class Send>
    ServerResult run_behind_deferred(Send send, Then then);

    /// True for a savepoint that may be set, or released, together with the next statement, for
    /// a setting, and for what fails unless a condition holds.
    [[nodiscard]] bool can_defer(std::string_view sql) const noexcept;
    Result<std::vector<std::int64_t>> pipeline(std::string_view sql, const Statement& statement,
                                               ParameterRows rows);
    Result<void> send_rows(const Statement& statement, ParameterRows rows);
    std::unexpected<Error> failed(const PGresult* result, std::string_view sql);

    SessionOptions options_;
    Handle owned_;
    PGconn* handle_;
    bool is_pooled_ = false;
    const Clock& clock_;
    StatementCache statements_;
    Parameters parameters_;

    /// We began the transaction that is open.
    bool begun_ = false;

    /// A relaxed transaction may have been committed since the last flush(), in this session or in
    /// one that was lost.
    bool has_unflushed_ = false;
    bool lost_unflushed_ = false;

    /// BEGIN, savepoints and conditions that go to the server with the next statement.
    std::vector<std::string> deferred_;
    std::shared_ptr<std::uint64_t> transactions_ended_ = std::make_shared<std::uint64_t>(0);

    /// The server's clock, as far ahead of our monotonic one as it was when last asked.
    std::optional<std::chrono::microseconds> server_ahead_;
    std::chrono::microseconds asked_at_{0};
    Timestamp last_now_{};
};

}  // namespace instep::postgres
