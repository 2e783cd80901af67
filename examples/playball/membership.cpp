#include "membership.hpp"

#include "user_events.hpp"

#include <fmt/format.h>

#include <cstdint>

namespace playball {

using instep::ErrorCode;
using instep::fail;
using instep::HandlerContext;
using instep::Result;
using instep::Transaction;
using instep::Verdict;

namespace {

/// Locks the user's row in `players` until the transaction ends. The replica alone would not do:
/// it may still have a user whom the handler has taken out of all groups.
Result<void> expect_player(Transaction& transaction, std::string_view user_id) {
    INSTEP_TRY_ASSIGN(
        const auto player,
        transaction.query("INSERT INTO players (user_id, is_deleted) VALUES ($1, 0) ON CONFLICT "
                          "(user_id) DO UPDATE SET user_id = excluded.user_id RETURNING is_deleted",
                          {user_id}));
    INSTEP_TRY(player->next());
    if (player->integer(0) != 0) {
        return fail(ErrorCode::kNotFound, fmt::format("the account {} was deleted", user_id));
    }
    INSTEP_TRY_ASSIGN(const auto user,
                      transaction.query("SELECT 1 FROM lookup_users WHERE id = $1", {user_id}));
    INSTEP_TRY_ASSIGN(const bool is_known, user->next());
    if (!is_known) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("user {} is not known here; if the account is new it has not "
                                "arrived yet: try again in a moment",
                                user_id));
    }
    return {};
}

Result<void> add_member(Transaction& transaction, std::string_view group,
                        std::string_view user_id) {
    INSTEP_TRY_ASSIGN(const std::int64_t rows,
                      transaction.execute("INSERT INTO memberships (group_name, user_id) VALUES "
                                          "($1, $2) ON CONFLICT (group_name, user_id) DO NOTHING",
                                          {group, user_id}));
    if (rows == 0) {
        return fail(ErrorCode::kConflict, fmt::format("user {} is in {} already", user_id, group));
    }
    return {};
}

Result<void> keep_name(Transaction& transaction, std::string_view user_id, std::string_view name) {
    INSTEP_TRY(
        transaction.execute("INSERT INTO player_names (user_id, number, name) "
                            "SELECT $1, coalesce(max(number), 0) + 1, $2 "
                            "FROM player_names WHERE user_id = $1",
                            {user_id, name}));
    return {};
}

Result<void> remove_player(Transaction& transaction, std::string_view user_id) {
    INSTEP_TRY(
        transaction.execute("INSERT INTO players (user_id, is_deleted) VALUES ($1, 1) "
                            "ON CONFLICT (user_id) DO UPDATE SET is_deleted = 1",
                            {user_id}));
    // One statement counts and closes, so that of two who leave a group at once the second one
    // sees that nobody is left.
    INSTEP_TRY(
        transaction.execute("UPDATE groups SET members = members - 1, "
                            "state = CASE WHEN members = 1 THEN 'closed' ELSE state END "
                            "WHERE name IN (SELECT group_name FROM memberships WHERE user_id = $1)",
                            {user_id}));
    INSTEP_TRY_ASSIGN(const std::int64_t groups_left,
                      transaction.execute("DELETE FROM memberships WHERE user_id = $1", {user_id}));
    INSTEP_TRY(transaction.execute("DELETE FROM player_names WHERE user_id = $1", {user_id}));
    INSTEP_TRY(transaction.execute("INSERT INTO departures (user_id, groups_left) VALUES ($1, $2)",
                                   {user_id, groups_left}));
    return {};
}

Verdict to_verdict(const Result<void>& outcome) {
    return outcome ? Verdict::done() : Verdict::retry(outcome.error().message);
}

}  // namespace

Result<void> create_group(Transaction& transaction, std::string_view group,
                          std::string_view user_id) {
    INSTEP_TRY(expect_player(transaction, user_id));
    INSTEP_TRY_ASSIGN(
        const std::int64_t rows,
        transaction.execute("INSERT INTO groups (name, members, state) VALUES ($1, 1, 'open') "
                            "ON CONFLICT (name) DO NOTHING",
                            {group}));
    if (rows == 0) {
        return fail(ErrorCode::kConflict,
                    fmt::format("the group name {} is taken; choose another", group));
    }
    return add_member(transaction, group, user_id);
}

Result<void> join_group(Transaction& transaction, std::string_view group,
                        std::string_view user_id) {
    INSTEP_TRY(expect_player(transaction, user_id));
    INSTEP_TRY_ASSIGN(const std::int64_t rows,
                      transaction.execute("UPDATE groups SET members = members + 1 "
                                          "WHERE name = $1 AND state = 'open'",
                                          {group}));
    if (rows == 0) {
        return fail(ErrorCode::kNotFound, fmt::format("there is no open group {}", group));
    }
    return add_member(transaction, group, user_id);
}

Result<std::string> list_groups(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(
        const auto rows,
        transaction.query("SELECT g.name, g.state, u.name FROM groups g "
                          "LEFT JOIN memberships m ON m.group_name = g.name "
                          "LEFT JOIN lookup_users u ON u.id = m.user_id ORDER BY g.name, u.name"));
    std::string lines;
    std::string group;
    while (true) {
        INSTEP_TRY_ASSIGN(const bool has_row, rows->next());
        if (!has_row) {
            return lines;
        }
        if (rows->text(0) != group) {
            group = rows->text(0);
            lines += fmt::format("{}{} ({}):", lines.empty() ? "" : "\n", group, rows->text(1));
        }
        if (!rows->is_null(2)) {
            lines += fmt::format(" {};", rows->text(2));
        }
    }
}

instep::HandlerSet membership_handlers() {
    instep::HandlerSet handlers;
    handlers.on<UserCreated>([](HandlerContext& context, const UserCreated& user) {
        return to_verdict(keep_name(context.transaction(), user.id, user.name));
    });
    handlers.on<UserUpdated>([](HandlerContext& context, const UserUpdated& user) {
        return to_verdict(keep_name(context.transaction(), user.id, user.name));
    });
    handlers.on<UserDeleted>([](HandlerContext& context, const UserDeleted& user) {
        return to_verdict(remove_player(context.transaction(), user.id));
    });
    return handlers;
}

}  // namespace playball
