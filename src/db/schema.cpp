#include "instep/db/schema.hpp"

#include "sqlite_migrations.hpp"

#include <charconv>
#include <vector>

namespace instep {

namespace {

/// The files are named NNN_name.sql.
std::vector<Migration> sqlite_steps() {
    std::vector<Migration> steps;
    for (const auto& file : embedded::sqlite_migrations()) {
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
    static const std::vector<Migration> kSqlite = sqlite_steps();
    return dialect.name() == "sqlite" ? std::span<const Migration>(kSqlite)
                                      : std::span<const Migration>();
}

}  // namespace instep
