// The database port: one connection to one database, and transactions on it.
//
// SQL is standard and written once: parameters are $1, $2, …, upserts are ON CONFLICT,
// identifiers are quoted with Dialect::quote(). What still differs is in Dialect.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/value.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <stop_token>
#include <string_view>
#include <vector>

namespace instep {

class Dialect;

/// The rows of one query, read forward once. Lives within its connection's current
/// transaction; a connection may have several open.
class Cursor {
public:
    virtual ~Cursor() = default;

    /// Moves to the next row; false after the last. Errors: as Connection::query(); kClosed
    /// once the transaction is over.
    virtual Result<bool> next() = 0;

    /// The column of the current row, counted from 0. Text and bytes are valid until next().
    [[nodiscard]] virtual ValueView at(std::size_t column) const = 0;

    [[nodiscard]] virtual std::size_t column_count() const = 0;

    /// at() for columns whose type the query fixes; NULL reads as 0 or "".
    [[nodiscard]] std::int64_t integer(std::size_t column) const;
    [[nodiscard]] std::string_view text(std::size_t column) const;
    [[nodiscard]] std::string_view blob(std::size_t column) const;
    [[nodiscard]] bool is_null(std::size_t column) const;
};

/// Rows of parameters for execute_many(): `columns` values a row, one row after the other.
struct ParameterRows {
    std::size_t columns = 0;
    std::span<const ValueView> values;
};

/// What a transaction may do. kRead sees one snapshot. kWrite reserves the right to write
/// at once, so that it never fails half-way because another writer was faster.
enum class TransactionMode : std::uint8_t { kRead, kWrite };

/// One connection, for one thread at a time. Statements are prepared once and kept.
///
/// Errors of every call: kBusy (locked longer than the connection's patience),
/// kUnavailable (server gone, file unreachable), kStorageFull, kCorrupt (not a database,
/// damaged), kRejected (a constraint said no), kPermissionDenied, kInvalidArgument (the SQL
/// or a parameter is wrong, or a kRead transaction is to write), kNotFound (no such table),
/// kLimitExceeded (a value is too large), kClosed (an earlier error has ended the transaction).
/// After an error within a transaction, go back to a savepoint or end it.
class Connection {
public:
    virtual ~Connection() = default;
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Runs a statement that returns rows. Parameters are copied. What it changes is changed
    /// when the call returns, whether or not the rows are read.
    virtual Result<std::unique_ptr<Cursor>> query(std::string_view sql,
                                                  std::span<const ValueView> parameters) = 0;

    /// Runs a statement and returns how many rows it inserted, updated or deleted.
    virtual Result<std::int64_t> execute(std::string_view sql,
                                         std::span<const ValueView> parameters) = 0;

    /// Runs a statement once for each row of parameters, in order, and returns how many rows
    /// each changed. Must be within a transaction; at the first error the rest is not run.
    virtual Result<std::vector<std::int64_t>> execute_many(std::string_view sql,
                                                           ParameterRows rows) = 0;

    /// Runs a statement once, with $i bound to an array of the i-th values of all rows. Each
    /// array is one of bigint, double precision, text or bytea: `unnest($1::bigint[], …)`. Errors:
    /// kRejected for a value that its array cannot hold; kUnsupported unless
    /// Dialect::binds_arrays().
    virtual Result<std::unique_ptr<Cursor>> query_bulk(std::string_view sql, ParameterRows rows);

    /// Adds rows to `columns` of `table`, both as they stand in SQL, in the fastest way there is:
    /// on PostgreSQL by COPY. Values are taken as the columns' types write them. Must be within a
    /// transaction. Errors: kUnsupported unless Dialect::binds_arrays().
    virtual Result<void> copy_rows(std::string_view table, std::string_view columns,
                                   ParameterRows rows);

    /// Runs several statements without parameters, separated by semicolons.
    virtual Result<void> execute_script(std::string_view sql) = 0;

    /// For Transaction only.
    virtual Result<void> begin(TransactionMode mode) = 0;
    virtual Result<void> commit() = 0;
    virtual Result<std::int64_t> commit_behind(std::string_view sql,
                                               std::span<const ValueView> parameters);
    virtual void rollback() noexcept = 0;

    /// Within a write transaction: others may see its commit before it survives a failure of the
    /// server, which takes such commits back whole and in reverse order. For what is done again
    /// unless flush() came after it. False, and no effect, where every commit is durable.
    virtual Result<bool> relax_commit() { return false; }

    /// Outside of transactions: all that this connection has committed survives a failure of the
    /// server. Errors: kUnavailable if the session was lost since, and with it perhaps what was
    /// committed last; it is then over with, and the next flush() is about what comes after.
    virtual Result<void> flush() { return {}; }

    /// Waits, outside of transactions, until another connection has committed a NOTIFY on a channel
    /// that this one LISTENs to. Returns true if it was told; false after `patience` or earlier,
    /// and on stop. Errors: kUnavailable if the session is lost, and with it what it listened to;
    /// kUnsupported where nobody is told anything: on SQLite, and behind a pooler.
    virtual Result<bool> await_notification(const std::stop_token& stop,
                                            std::chrono::milliseconds patience);

    /// A number that has changed if another connection may have committed since it was last
    /// asked. Cheap; call it outside of transactions.
    virtual Result<std::uint64_t> change_token() = 0;

    /// The database's own clock, which is the one that leases are judged by.
    virtual Result<Timestamp> now() = 0;

    [[nodiscard]] virtual const Dialect& dialect() const = 0;

protected:
    Connection() = default;
};

/// A transaction that rolls back unless commit() was reached. Lives within its connection.
class Transaction {
public:
    /// Errors: kBusy if another writer kept the lock; those of Connection.
    static Result<Transaction> begin(Connection& connection, TransactionMode mode);

    /// Stands for a transaction that the caller has opened on the connection by its own
    /// means, and will end: neither commit() nor the destructor touches it.
    static Transaction join(Connection& connection);

    Transaction(Transaction&& other) noexcept;
    Transaction& operator=(Transaction&&) = delete;
    ~Transaction();

    /// As on Connection.
    Result<std::unique_ptr<Cursor>> query(std::string_view sql,
                                          std::span<const ValueView> parameters = {});
    Result<std::unique_ptr<Cursor>> query(std::string_view sql,
                                          std::initializer_list<ValueView> parameters);
    Result<std::int64_t> execute(std::string_view sql, std::span<const ValueView> parameters = {});
    Result<std::int64_t> execute(std::string_view sql, std::initializer_list<ValueView> parameters);
    Result<std::vector<std::int64_t>> execute_many(std::string_view sql, ParameterRows rows);
    Result<std::unique_ptr<Cursor>> query_bulk(std::string_view sql, ParameterRows rows);
    Result<void> copy_rows(std::string_view table, std::string_view columns, ParameterRows rows);

    /// A point to come back to within the transaction. Where they are nested, each call means
    /// the innermost one.
    Result<void> set_savepoint();
    Result<void> rollback_to_savepoint();
    Result<void> release_savepoint();

    /// After an error the transaction is over and nothing of it is kept, unless the error is
    /// kUnavailable: then the outcome is unknown and must be read back.
    Result<void> commit();

    /// As execute() and then commit(), in one round trip where the database is a server. After an
    /// error the transaction is over, as after one of commit().
    Result<std::int64_t> commit_behind(std::string_view sql, std::span<const ValueView> parameters);
    Result<std::int64_t> commit_behind(std::string_view sql,
                                       std::initializer_list<ValueView> parameters);

    [[nodiscard]] Connection& connection() const noexcept { return *connection_; }
    [[nodiscard]] const Dialect& dialect() const { return connection_->dialect(); }

private:
    enum class Ownership : std::uint8_t { kOwned, kJoined, kDone };
    Transaction(Connection& connection, Ownership ownership);

    Connection* connection_;
    Ownership ownership_;
};

}  // namespace instep
