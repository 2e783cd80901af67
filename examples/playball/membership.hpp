// Groups and who is in them, and what a change of an account means for them.
#pragma once

#include "instep/consumer/subscription.hpp"
#include "instep/db/connection.hpp"

#include <string>
#include <string_view>

namespace playball {

/// Opens a group with one member. Errors: kNotFound if no such user has arrived from auth yet, or
/// the account was deleted; kConflict if the group's name is taken; those of Connection.
instep::Result<void> create_group(instep::Transaction& transaction, std::string_view group,
                                  std::string_view user_id);

/// Errors: as create_group(), kNotFound also if there is no open group of this name, kConflict if
/// the user is in it.
instep::Result<void> join_group(instep::Transaction& transaction, std::string_view group,
                                std::string_view user_id);

/// A line for each group: its name, state, and the members' names as auth has them.
instep::Result<std::string> list_groups(instep::Transaction& transaction);

/// For auth.user: keeps the names that users have gone by; takes users whose account was deleted
/// out of their groups, and closes groups that have nobody left.
instep::HandlerSet membership_handlers();

}  // namespace playball
