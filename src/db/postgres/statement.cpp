#include "statement.hpp"

#include "own_tables.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::postgres {

namespace {

constexpr std::size_t kStatementsKeptMax = 256;

/// A real of four bytes is left out: as text it has the digits that it was written with.
bool reads_in_binary(Oid type) {
    switch (type) {
        case kBool:
        case kBytea:
        case kName:
        case kInt8:
        case kInt2:
        case kInt4:
        case kText:
        case kOid:
        case kFloat8:
        case kBpchar:
        case kVarchar:
            return true;
        default:
            return false;
    }
}

Statement described(std::string name, const PGresult* description) {
    Statement statement;
    statement.name = std::move(name);
    for (int i = 0; i < PQnparams(description); ++i) {
        statement.parameter_types.push_back(PQparamtype(description, i));
    }
    bool binary = PQnfields(description) > 0;
    for (int i = 0; i < PQnfields(description); ++i) {
        binary = binary && reads_in_binary(PQftype(description, i));
    }
    statement.result_format = binary ? kBinaryFormat : kTextFormat;
    return statement;
}

}  // namespace

StatementCache::Prepared StatementCache::take(PGconn* connection, std::string_view sql) {
    const auto found = entries_.find(sql);
    if (found != entries_.end()) {
        found->second.last_use = ++uses_;
        return {&found->second.statement, nullptr};
    }
    std::string name = keeping_ == Keeping::kSession ? fmt::format("instep_{}", ++names_) : "";
    const std::string translated = with_own_schema(sql);
    ServerResult done(PQprepare(connection, name.c_str(), translated.c_str(), 0, nullptr));
    if (is_good(done.get())) {
        done.reset(PQdescribePrepared(connection, name.c_str()));
    }
    if (!is_good(done.get())) {
        return {nullptr, std::move(done)};
    }
    if (keeping_ == Keeping::kOneUse) {
        unnamed_ = described(std::move(name), done.get());
        return {&unnamed_, nullptr};
    }
    if (entries_.size() >= kStatementsKeptMax) {
        drop_oldest(connection);
    }
    const auto added =
        entries_.emplace(sql, Entry{described(std::move(name), done.get()), ++uses_}).first;
    return {&added->second.statement, nullptr};
}

void StatementCache::forget(std::string_view sql) {
    // The server keeps it until the session ends; its name is not used again.
    if (const auto found = entries_.find(sql); found != entries_.end()) {
        entries_.erase(found);
    }
}

void StatementCache::drop_oldest(PGconn* connection) {
    const auto oldest = std::ranges::min_element(
        entries_, {}, [](const auto& entry) { return entry.second.last_use; });
    const std::string sql = fmt::format("DEALLOCATE {}", oldest->second.statement.name);
    ServerResult(PQexec(connection, sql.c_str()));
    entries_.erase(oldest);
}

}  // namespace instep::postgres
