// Where a statement for many rows takes its values from: one set of parameters that it is run
// with for each row, or one array a column that it is run with once.
#pragma once

#include "instep/db/connection.hpp"
#include "instep/db/dialect.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// Names the values of such a statement. Add all of them in the order of the parameters.
class RowSource {
public:
    explicit RowSource(const Dialect& dialect) : in_arrays_(dialect.binds_arrays()) {}

    /// A value of a column of the type; returns its place.
    std::size_t add(ValueKind kind, std::string_view type);
    std::size_t add_version() { return add(ValueKind::kBytes, "bytea"); }

    /// An expression of the value.
    [[nodiscard]] std::string value(std::size_t place) const;

    /// What stands between the values of a SELECT and its condition.
    [[nodiscard]] std::string from_where() const;

    /// The same for a DELETE.
    [[nodiscard]] std::string using_where() const;

    /// The rows of an INSERT without condition.
    [[nodiscard]] std::string rows_of(const std::vector<std::string>& values) const;

    /// Ends a statement that tells which rows it wrote.
    [[nodiscard]] std::string returning(std::string_view key) const;

private:
    [[nodiscard]] std::string arrays() const;

    const bool in_arrays_;

    /// Of each value: its array's type, and the cast to the column's type or "".
    std::vector<std::string> arrays_;
    std::vector<std::string> casts_;
};

/// Runs a statement that was made with a RowSource. Returns how many rows each row of parameters
/// wrote, 0 or 1. `key_of` is the key's text of a row of parameters, which is how a statement
/// that is run once tells its rows apart.
Result<std::vector<std::int64_t>> write_rows(
    Transaction& transaction, const std::string& sql, ParameterRows rows,
    const std::function<std::string(std::span<const ValueView> row)>& key_of);

}  // namespace instep
