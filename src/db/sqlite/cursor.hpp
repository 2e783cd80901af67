#pragma once

#include "instep/db/connection.hpp"
#include "statement.hpp"

#include <optional>

namespace instep::sqlite {

class SqliteConnection;

/// Gives its statement back after the last row, or when the transaction ends.
class SqliteCursor final : public Cursor {
public:
    SqliteCursor(SqliteConnection& connection, StatementCache::Lease statement);
    ~SqliteCursor() override;

    /// Runs the statement up to its first row, so that its effects and errors belong to
    /// query(), as on a server.
    Result<void> fetch();

    /// The transaction is over: there are no more rows.
    void close() noexcept;

    Result<bool> next() override;
    [[nodiscard]] ValueView at(std::size_t column) const override;
    [[nodiscard]] std::size_t column_count() const override { return column_count_; }

private:
    enum class State : std::uint8_t { kFetched, kOnRow, kAtEnd, kClosed };

    void finish(State state) noexcept;

    SqliteConnection* connection_;
    std::optional<StatementCache::Lease> statement_;
    std::size_t column_count_;
    State state_ = State::kFetched;
};

}  // namespace instep::sqlite
