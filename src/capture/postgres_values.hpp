// How captured rows are written on PostgreSQL: SQL expressions of their columns.
#pragma once

#include "instep/capture/contract.hpp"
#include "instep/db/dialect.hpp"
#include "instep/event/event.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace instep {

using Columns = std::vector<const ContractColumn*>;

Columns all_columns(const Contract& contract);
Columns key_columns(const Contract& contract);

/// The values of a log row for the row called `row`, in the order of kCaptureInsert.
std::string capture_values(const Contract& contract, const Dialect& dialect, std::string_view row,
                           std::string_view action, Operation operation);

inline constexpr std::string_view kCaptureInsert =
    "  INSERT INTO instep.log_passing (topic, key, type, operation, schema, correlation_id,\n"
    "    causation_id, trace_parent, data)";

/// Settings that a function needs which writes such values: SET clauses, or "".
std::string capture_settings(const Contract& contract);

/// True in SQL if any of the columns is not the same in both rows, byte for byte, whatever their
/// type holds equal.
std::string differs(const Columns& columns, const Dialect& dialect, std::string_view row,
                    std::string_view other);

}  // namespace instep
