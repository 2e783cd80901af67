#pragma once

#include "instep/db/connection.hpp"
#include "result.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

namespace instep::postgres {

/// Rows that the server has sent whole. Values of other types than integers, reals, booleans
/// and bytes are the texts that PostgreSQL writes.
class PostgresCursor final : public Cursor {
public:
    /// `transactions_ended` counts; the cursor is closed when it has risen.
    PostgresCursor(ServerResult result, std::shared_ptr<const std::uint64_t> transactions_ended);

    Result<bool> next() override;
    [[nodiscard]] ValueView at(std::size_t column) const override;
    [[nodiscard]] std::size_t column_count() const override;

private:
    [[nodiscard]] ValueView binary(std::string_view value, Oid type) const;
    [[nodiscard]] ValueView text(std::string_view value, Oid type) const;

    ServerResult result_;
    std::shared_ptr<const std::uint64_t> transactions_ended_;
    std::uint64_t opened_at_;
    int row_ = -1;

    /// Bytes of the current row that came as text.
    mutable std::deque<std::string> decoded_;
};

}  // namespace instep::postgres
