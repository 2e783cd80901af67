#include "instep/db/schema.hpp"

#include "postgres_migrations.hpp"
#include "sqlite_migrations.hpp"

#include <fmt/format.h>

#include <charconv>
#include <vector>

namespace instep {

namespace {

/// The files are named NNN_name.sql.
template <class File>
std::vector<Migration> steps_of(std::span<const File> files) {
    std::vector<Migration> steps;
    for (const File& file : files) {
        Migration step;
        std::from_chars(file.name.data(), file.name.data() + 3, step.number);
        step.name = file.name.substr(4, file.name.rfind('.') - 4);
        step.sql = file.text;
        steps.push_back(step);
    }
    return steps;
}

}  // namespace

std::span<const Migration> service_migrations(const Dialect& dialect) {
    static const std::vector<Migration> kSqlite = steps_of(embedded::sqlite_migrations());
    static const std::vector<Migration> kPostgres = steps_of(embedded::postgres_migrations());
    return dialect.name() == "sqlite" ? kSqlite : kPostgres;
}

Result<void> check_service_tables(Connection& connection) {
    INSTEP_TRY_ASSIGN(const std::uint32_t level, migration_level(connection));
    const std::size_t newest = service_migrations(connection.dialect()).size();
    if (level == newest) {
        return {};
    }
    return fail(ErrorCode::kSchemaMismatch,
                fmt::format("the tables instep_* are at step {}, this program needs {}; {}", level,
                            newest, level < newest ? "run `instep apply`" : "use a newer program"));
}

}  // namespace instep
