#include "instep/base/bytes.hpp"
#include "instep/db/database.hpp"
#include "instep/db/dialect.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace instep {

namespace {

constexpr std::string_view kCreateTable =
    "CREATE TABLE IF NOT EXISTS instep_migration ("
    "number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, "
    "taken_at BIGINT NOT NULL)";

std::string checksum(std::string_view sql) { return fmt::format("{:016x}", key_hash(sql)); }

Result<std::map<std::int64_t, std::string>> read_taken(Connection& connection) {
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(connection, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(auto rows,
                      transaction.query("SELECT number, checksum FROM instep_migration"));
    std::map<std::int64_t, std::string> taken;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return taken;
        }
        taken.emplace(rows->integer(0), rows->text(1));
    }
}

Result<void> check_taken(const std::map<std::int64_t, std::string>& taken,
                         std::span<const Migration> migrations) {
    for (const auto& [number, sum] : taken) {
        if (number < 1 || number > std::ssize(migrations)) {
            return fail(ErrorCode::kSchemaMismatch,
                        fmt::format("the database is at migration {}, this program knows {}; "
                                    "use a newer program",
                                    taken.rbegin()->first, migrations.size()));
        }
        const Migration& known = migrations[static_cast<std::size_t>(number) - 1];
        if (sum != checksum(known.sql)) {
            return fail(ErrorCode::kSchemaMismatch,
                        fmt::format("migration {} ({}) was taken with another text; use the "
                                    "program that took it, or a newer one",
                                    number, known.name));
        }
    }
    return {};
}

/// False if another process took the step first. Its row is written before the step runs:
/// where writers do not exclude one another, the second waits here and then finds it.
Result<bool> take(Connection& connection, const Migration& migration) {
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(const Timestamp now, connection.now());
    const std::string sum = checksum(migration.sql);
    INSTEP_TRY_ASSIGN(
        const std::int64_t inserted,
        transaction.execute("INSERT INTO instep_migration (number, name, checksum, taken_at) "
                            "VALUES ($1, $2, $3, $4) ON CONFLICT (number) DO NOTHING",
                            {std::int64_t{migration.number}, migration.name, std::string_view(sum),
                             std::int64_t{now.time_since_epoch().count()}}));
    if (inserted == 0) {
        return false;
    }
    INSTEP_TRY(connection.execute_script(migration.sql));
    INSTEP_TRY(transaction.commit());
    return true;
}

/// Two servers' sessions that create the same at once may both find it missing; the second is
/// then told by a constraint of the catalogue, and finds it the next time.
Result<void> create_table(Connection& connection) {
    const auto standing = connection.query("SELECT 1 FROM instep_migration LIMIT 1", {});
    if (standing || standing.error().code != ErrorCode::kNotFound) {
        INSTEP_TRY(standing);
        return {};
    }
    const std::string script = fmt::format("{}{}", connection.dialect().own_schema(), kCreateTable);
    auto created = connection.execute_script(script);
    if (!created && created.error().code == ErrorCode::kRejected) {
        created = connection.execute_script(script);
    }
    return created;
}

}  // namespace

Result<std::uint32_t> migrate(Connection& connection, std::span<const Migration> migrations) {
    INSTEP_TRY(create_table(connection));
    std::uint32_t steps = 0;
    for (;;) {
        INSTEP_TRY_ASSIGN(const auto taken, read_taken(connection));
        INSTEP_TRY(check_taken(taken, migrations));
        const auto next = std::ranges::find_if(migrations, [&](const Migration& migration) {
            return !taken.contains(migration.number);
        });
        if (next == migrations.end()) {
            return steps;
        }
        auto done = take(connection, *next);
        if (!done) {
            return fail_in(fmt::format("migration {} ({})", next->number, next->name),
                           std::move(done).error());
        }
        steps += *done ? 1 : 0;
    }
}

Result<std::uint32_t> migration_level(Connection& connection) {
    const auto taken = read_taken(connection);
    if (!taken) {
        if (taken.error().code == ErrorCode::kNotFound) {
            return 0;
        }
        return std::unexpected(taken.error());
    }
    return taken->empty() ? 0 : static_cast<std::uint32_t>(taken->rbegin()->first);
}

}  // namespace instep
