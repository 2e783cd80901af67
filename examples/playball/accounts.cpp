#include "accounts.hpp"

#include "instep/base/uuid.hpp"

#include <fmt/format.h>

#include <cstdint>

namespace playball {

using instep::ErrorCode;
using instep::fail;
using instep::Result;
using instep::Transaction;

namespace {

Result<void> expect_one(std::int64_t rows, std::string_view id) {
    if (rows != 1) {
        return fail(ErrorCode::kNotFound, fmt::format("there is no user {}", id));
    }
    return {};
}

}  // namespace

Result<std::string> register_user(Transaction& transaction, std::string_view username,
                                  std::string_view name, std::string_view email) {
    instep::SystemRandom random;
    std::string id = instep::make_uuid_v7(instep::SystemClock(), random);
    INSTEP_TRY_ASSIGN(
        const std::int64_t rows,
        transaction.execute("INSERT INTO users (id, username, name, email) VALUES ($1, $2, $3, $4) "
                            "ON CONFLICT (username) DO NOTHING",
                            {std::string_view(id), username, name, email}));
    if (rows == 0) {
        return fail(ErrorCode::kConflict,
                    fmt::format("the username {} is taken; choose another", username));
    }
    return id;
}

Result<void> rename_user(Transaction& transaction, std::string_view id, std::string_view name) {
    INSTEP_TRY_ASSIGN(const std::int64_t rows,
                      transaction.execute("UPDATE users SET name = $2 WHERE id = $1", {id, name}));
    return expect_one(rows, id);
}

Result<void> delete_user(Transaction& transaction, std::string_view id) {
    INSTEP_TRY_ASSIGN(const std::int64_t rows,
                      transaction.execute("DELETE FROM users WHERE id = $1", {id}));
    return expect_one(rows, id);
}

}  // namespace playball
