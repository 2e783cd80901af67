#pragma once

#include "checkpointer.hpp"
#include "instep/base/clock.hpp"
#include "instep/db/connection.hpp"
#include "instep/db/database.hpp"
#include "lock_waiter.hpp"
#include "open_database.hpp"
#include "statement.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace instep::sqlite {

class SqliteCursor;

class SqliteConnection final : public Connection {
public:
    /// Over a handle of the caller's, whose settings stay.
    SqliteConnection(sqlite3* handle, std::string display_url, const Clock& clock);

    /// Over a handle of its own. Without `file_path` the database is in memory.
    static Result<std::unique_ptr<SqliteConnection>> configure(Handle handle,
                                                               std::optional<std::string> file_path,
                                                               std::string display_url,
                                                               const ConnectOptions& options,
                                                               const Clock& clock);

    ~SqliteConnection() override;

    Result<std::unique_ptr<Cursor>> query(std::string_view sql,
                                          std::span<const ValueView> parameters) override;
    Result<std::int64_t> execute(std::string_view sql,
                                 std::span<const ValueView> parameters) override;
    Result<std::vector<std::int64_t>> execute_many(std::string_view sql,
                                                   ParameterRows rows) override;
    Result<void> execute_script(std::string_view sql) override;
    Result<void> begin(TransactionMode mode) override;
    Result<void> commit() override;
    void rollback() noexcept override;
    Result<std::uint64_t> change_token() override;
    Result<Timestamp> now() override;
    [[nodiscard]] const Dialect& dialect() const override;

private:
    friend class SqliteCursor;
    enum class State : std::uint8_t { kIdle, kReading, kWriting };

    Result<void> apply(const ConnectOptions& options);
    Result<void> use_write_ahead_log();
    Result<std::string> pragma(const char* sql);
    Result<void> run(const char* sql);

    Result<StatementCache::Lease> prepare(std::string_view sql, std::size_t parameter_count);
    Result<void> bind(StatementCache::Lease& statement, std::span<const ValueView> parameters,
                      ParameterBytes bytes);
    Result<std::int64_t> run(StatementCache::Lease& statement);

    [[nodiscard]] bool in_transaction() const noexcept;
    Result<void> check_transaction_lives() const;
    void close_cursors() noexcept;
    void checkpoint_if_due();

    OpenDatabase database_;
    const Clock* clock_;
    LockWaiter lock_waiter_{std::chrono::microseconds{0}};
    std::unique_ptr<Checkpointer> checkpointer_;
    Handle owned_;
    StatementCache statements_{database_};
    std::vector<SqliteCursor*> cursors_;
    State state_ = State::kIdle;
};

}  // namespace instep::sqlite
