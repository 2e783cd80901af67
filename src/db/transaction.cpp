#include "instep/db/connection.hpp"

#include <cassert>
#include <utility>

namespace instep {

Transaction::Transaction(Connection& connection, Ownership ownership)
    : connection_(&connection), ownership_(ownership) {}

Result<Transaction> Transaction::begin(Connection& connection, TransactionMode mode) {
    INSTEP_TRY(connection.begin(mode));
    return Transaction(connection, Ownership::kOwned);
}

Transaction Transaction::join(Connection& connection) {
    return Transaction(connection, Ownership::kJoined);
}

Transaction::Transaction(Transaction&& other) noexcept
    : connection_(other.connection_),
      ownership_(std::exchange(other.ownership_, Ownership::kDone)) {}

Transaction::~Transaction() {
    if (ownership_ == Ownership::kOwned) {
        connection_->rollback();
    }
}

Result<std::unique_ptr<Cursor>> Transaction::query(std::string_view sql,
                                                   std::span<const ValueView> parameters) {
    assert(ownership_ != Ownership::kDone);
    return connection_->query(sql, parameters);
}

Result<std::unique_ptr<Cursor>> Transaction::query(std::string_view sql,
                                                   std::initializer_list<ValueView> parameters) {
    return query(sql, std::span<const ValueView>(parameters.begin(), parameters.size()));
}

Result<std::int64_t> Transaction::execute(std::string_view sql,
                                          std::span<const ValueView> parameters) {
    assert(ownership_ != Ownership::kDone);
    return connection_->execute(sql, parameters);
}

Result<std::int64_t> Transaction::execute(std::string_view sql,
                                          std::initializer_list<ValueView> parameters) {
    return execute(sql, std::span<const ValueView>(parameters.begin(), parameters.size()));
}

Result<std::vector<std::int64_t>> Transaction::execute_many(std::string_view sql,
                                                            ParameterRows rows) {
    assert(ownership_ != Ownership::kDone);
    return connection_->execute_many(sql, rows);
}

Result<std::unique_ptr<Cursor>> Transaction::query_bulk(std::string_view sql, ParameterRows rows) {
    assert(ownership_ != Ownership::kDone);
    return connection_->query_bulk(sql, rows);
}

Result<void> Transaction::copy_rows(std::string_view table, std::string_view columns,
                                    ParameterRows rows) {
    assert(ownership_ != Ownership::kDone);
    return connection_->copy_rows(table, columns, rows);
}

Result<void> Transaction::set_savepoint() {
    INSTEP_TRY(execute("SAVEPOINT instep_savepoint"));
    return {};
}

Result<void> Transaction::rollback_to_savepoint() {
    INSTEP_TRY(execute("ROLLBACK TO SAVEPOINT instep_savepoint"));
    return {};
}

Result<void> Transaction::release_savepoint() {
    INSTEP_TRY(execute("RELEASE SAVEPOINT instep_savepoint"));
    return {};
}

Result<std::int64_t> Transaction::commit_behind(std::string_view sql,
                                                std::initializer_list<ValueView> parameters) {
    return commit_behind(sql, std::span<const ValueView>(parameters.begin(), parameters.size()));
}

Result<std::int64_t> Transaction::commit_behind(std::string_view sql,
                                                std::span<const ValueView> parameters) {
    assert(ownership_ != Ownership::kDone);
    if (ownership_ == Ownership::kJoined) {
        return connection_->execute(sql, parameters);
    }
    ownership_ = Ownership::kDone;
    auto changed = connection_->commit_behind(sql, parameters);
    if (!changed) {
        connection_->rollback();
    }
    return changed;
}

Result<void> Transaction::commit() {
    assert(ownership_ != Ownership::kDone);
    if (ownership_ == Ownership::kJoined) {
        return {};
    }
    ownership_ = Ownership::kDone;
    auto committed = connection_->commit();
    if (!committed) {
        connection_->rollback();
    }
    return committed;
}

}  // namespace instep
