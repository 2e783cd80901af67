// The SQL of capture triggers, for SQLite.
#pragma once

#include "instep/capture/capture.hpp"
#include "instep/db/dialect.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace instep {

struct Trigger {
    std::string name;
    std::string sql;
};

/// All triggers of the contract, in creation order.
std::vector<Trigger> capture_triggers(const Contract& contract, const Dialect& dialect);

/// The text as an SQL string literal.
std::string text_literal(std::string_view text);

/// Begins the name of every capture trigger of the entity.
std::string trigger_prefix(const std::string& entity);

}  // namespace instep
