// The SQL of capture triggers, which each database says in its own way.
#pragma once

#include "instep/capture/capture.hpp"
#include "instep/db/dialect.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// A trigger as it should be.
struct Trigger {
    std::string name;

    /// What the database keeps of the trigger, to tell whether it is still this one.
    std::string mark;

    /// Statements that create it.
    std::string create;
};

/// A trigger as it stands.
struct StandingTrigger {
    std::string mark;

    /// Statements that drop it.
    std::string drop;
};

using StandingTriggers = std::map<std::string, StandingTrigger, std::less<>>;

/// All triggers of the contract, in creation order.
std::vector<Trigger> capture_triggers(const Contract& contract, const TableDescription& table,
                                      const Dialect& dialect);

/// Capture triggers as they stand in the database, by name.
Result<StandingTriggers> standing_triggers(Connection& connection);

std::vector<Trigger> sqlite_triggers(const Contract& contract, const Dialect& dialect);
std::vector<Trigger> postgres_triggers(const Contract& contract, const TableDescription& table,
                                       const Dialect& dialect);
Result<StandingTriggers> standing_in_sqlite(Connection& connection);
Result<StandingTriggers> standing_in_postgres(Connection& connection);

std::string sqlite_key(const Contract& contract, const Dialect& dialect, std::string_view row);
std::string postgres_key(const Contract& contract, const Dialect& dialect, std::string_view row);

/// The text as an SQL string literal.
std::string text_literal(std::string_view text);

/// The time as microseconds since 1970, in SQL.
std::string_view now_us(const Dialect& dialect);

/// "row"."column".
std::string column_of(const Dialect& dialect, std::string_view row, std::string_view column);

}  // namespace instep
