// Accounts, which auth owns. Nothing here knows of events: what is saved is seen by the database's
// triggers.
#pragma once

#include "instep/db/connection.hpp"

#include <string>
#include <string_view>

namespace playball {

/// Returns the new user's id. Errors: kConflict if the username is taken; those of Connection.
instep::Result<std::string> register_user(instep::Transaction& transaction,
                                          std::string_view username, std::string_view name,
                                          std::string_view email);

/// Errors: kNotFound; those of Connection.
instep::Result<void> rename_user(instep::Transaction& transaction, std::string_view id,
                                 std::string_view name);

/// Errors: kNotFound; those of Connection.
instep::Result<void> delete_user(instep::Transaction& transaction, std::string_view id);

}  // namespace playball
