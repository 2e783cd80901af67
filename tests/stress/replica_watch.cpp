#include "tests/stress/replica_watch.hpp"

#include "instep/db/dialect.hpp"
#include "tests/support/log_reading.hpp"

#include <set>
#include <string>

namespace instep::stress {

namespace {

using test::expect_value;

constexpr std::string_view kOnSqlite = R"(
CREATE TABLE newest (id integer PRIMARY KEY, version blob NOT NULL);
CREATE TABLE gone_back (id integer, was blob, became blob);
CREATE TRIGGER watch_insert AFTER INSERT ON items BEGIN
    INSERT INTO gone_back SELECT id, version, NEW.instep_version FROM newest
        WHERE id = NEW.id AND version >= NEW.instep_version;
    INSERT INTO newest VALUES (NEW.id, NEW.instep_version)
        ON CONFLICT (id) DO UPDATE SET version = excluded.version;
END;
CREATE TRIGGER watch_update AFTER UPDATE ON items BEGIN
    INSERT INTO gone_back SELECT OLD.id, OLD.instep_version, NEW.instep_version
        WHERE OLD.instep_version > NEW.instep_version;
    UPDATE newest SET version = NEW.instep_version WHERE id = NEW.id;
END;
)";

constexpr std::string_view kOnPostgres = R"(
CREATE TABLE newest (id integer PRIMARY KEY, version bytea NOT NULL);
CREATE TABLE gone_back (id integer, was bytea, became bytea);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO gone_back SELECT OLD.id, OLD.instep_version, NEW.instep_version
            WHERE OLD.instep_version > NEW.instep_version;
    ELSE
        INSERT INTO gone_back SELECT id, version, NEW.instep_version FROM newest
            WHERE id = NEW.id AND version >= NEW.instep_version;
    END IF;
    INSERT INTO newest VALUES (NEW.id, NEW.instep_version)
        ON CONFLICT (id) DO UPDATE SET version = excluded.version;
    RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION watch();
)";

}  // namespace

void watch_versions(Connection& connection) {
    expect_value(connection.execute_script(connection.dialect().name() == "postgres" ? kOnPostgres
                                                                                     : kOnSqlite));
}

std::uint64_t versions_gone_back(Connection& connection) {
    const auto rows = expect_value(connection.query("SELECT count(*) FROM gone_back", {}));
    expect_value(rows->next());
    return static_cast<std::uint64_t>(rows->integer(0));
}

std::map<std::int64_t, std::string> item_rows(Connection& connection) {
    const auto rows = expect_value(connection.query(
        "SELECT id, CAST(v AS text) || ' ' || coalesce(note, '-') FROM items", {}));
    std::map<std::int64_t, std::string> found;
    while (expect_value(rows->next())) {
        found.emplace(rows->integer(0), rows->text(1));
    }
    return found;
}

std::uint64_t wrong_rows(const std::map<std::int64_t, std::string>& source,
                         const std::map<std::int64_t, std::string>& replica) {
    std::set<std::int64_t> wrong;
    for (const auto& [id, row] : source) {
        const auto found = replica.find(id);
        if (found == replica.end() || found->second != row) {
            wrong.insert(id);
        }
    }
    for (const auto& [id, row] : replica) {
        if (!source.contains(id)) {
            wrong.insert(id);
        }
    }
    return wrong.size();
}

}  // namespace instep::stress
