#include "cursor.hpp"

#include "connection.hpp"

#include <utility>

namespace instep::sqlite {

SqliteCursor::SqliteCursor(SqliteConnection& connection, StatementCache::Lease statement)
    : connection_(&connection),
      statement_(std::move(statement)),
      column_count_(static_cast<std::size_t>(sqlite3_column_count((*statement_)->handle()))) {
    connection_->cursors_.push_back(this);
}

SqliteCursor::~SqliteCursor() { close(); }

Result<void> SqliteCursor::fetch() {
    const int code = (*statement_)->step();
    if (code == SQLITE_ROW) {
        state_ = State::kFetched;
        return {};
    }
    if (code == SQLITE_DONE) {
        finish(State::kAtEnd);
        return {};
    }
    auto failed = connection_->database_.failure(code, statement_->sql());
    finish(State::kClosed);
    return failed;
}

Result<bool> SqliteCursor::next() {
    if (state_ == State::kOnRow) {
        INSTEP_TRY(fetch());
    }
    if (state_ == State::kClosed) {
        return fail(ErrorCode::kClosed, "a cursor was read after its transaction or an error");
    }
    if (state_ == State::kFetched) {
        state_ = State::kOnRow;
    }
    return state_ == State::kOnRow;
}

ValueView SqliteCursor::at(std::size_t column) const {
    if (state_ != State::kOnRow || column >= column_count_) {
        return kNull;
    }
    sqlite3_stmt* row = (*statement_)->handle();
    const int index = static_cast<int>(column);
    const auto bytes = [&](const void* data) {
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(row, index));
        return size == 0 ? std::string_view()
                         : std::string_view(static_cast<const char*>(data), size);
    };
    switch (sqlite3_column_type(row, index)) {
        case SQLITE_INTEGER:
            return std::int64_t{sqlite3_column_int64(row, index)};
        case SQLITE_FLOAT:
            return sqlite3_column_double(row, index);
        case SQLITE_TEXT:
            return bytes(sqlite3_column_text(row, index));
        case SQLITE_BLOB:
            return BlobView{bytes(sqlite3_column_blob(row, index))};
        default:
            return kNull;
    }
}

void SqliteCursor::close() noexcept {
    if (state_ != State::kAtEnd) {
        finish(State::kClosed);
    }
}

void SqliteCursor::finish(State state) noexcept {
    state_ = state;
    if (statement_) {
        statement_.reset();
        std::erase(connection_->cursors_, this);
    }
}

}  // namespace instep::sqlite
