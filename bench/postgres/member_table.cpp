#include "bench/postgres/member_table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace instep::bench {

PublishEntry member_entry(std::string table) {
    return {std::move(table),
            "member",
            {"id"},
            {"id", "email", "name", "department", "title", "active", "score", "note"},
            {}};
}

std::string member_columns() {
    return fmt::format("{}", fmt::join(member_entry("").columns, ", "));
}

void create_members(Session& session, const std::string& table, std::string_view options) {
    session.run(fmt::format(
        "CREATE TABLE {0} (id bigint PRIMARY KEY, email text, name text, department text, "
        "title text, active boolean, score bigint, note text) {1}; "
        "CREATE INDEX {0}_by_email ON {0} (email)",
        table, options));
}

std::string member_values() {
    return "g, 'member.' || g || '@company.example', 'First' || g % 997 || ' Last' || g % 9973, "
           "md5((g % 40)::text), 'Senior engineer, platform', g % 7 <> 0, g % 1000, "
           "repeat(md5(g::text), 3)";
}

void insert_members(Session& session, const std::string& table, std::int64_t first,
                    std::int64_t last) {
    session.run(fmt::format("INSERT INTO {} SELECT {} FROM generate_series({}, {}) AS g", table,
                            member_values(), first, last));
}

std::string member_json() {
    return "concat('{\"id\":', id, ',\"email\":', to_json(email), ',\"name\":', to_json(name), "
           "',\"department\":', to_json(department), ',\"title\":', to_json(title), "
           "',\"active\":', to_json(active), ',\"score\":', score, ',\"note\":', to_json(note), "
           "'}')";
}

std::string member_checksum(Session& session, const std::string& table) {
    return session.value(fmt::format(
        "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(concat_ws('|', {}), 0)::numeric), "
        "0) FROM {}",
        member_columns(), table));
}

}  // namespace instep::bench
