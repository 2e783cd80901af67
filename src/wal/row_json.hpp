// Values as pgoutput writes them, as texts, on their way into an event: the same bytes that
// capture triggers write (src/capture/postgres_triggers.cpp).
#pragma once

#include "instep/capture/contract.hpp"

#include <string>
#include <string_view>

namespace instep::wal {

/// The JSON of a value that is not NULL.
std::string json_of(const ContractColumn& column, std::string_view text);

/// The value of a column in an event's key.
std::string key_value(const ContractColumn& column, std::string_view text);

/// True if the value is a string in the JSON array of a composite key.
bool is_text_in_key(const ContractColumn& column);

}  // namespace instep::wal
