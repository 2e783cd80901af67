#include "tests/support/postgres_database.hpp"

#include "tests/support/postgres_session.hpp"

#include <atomic>
#include <stdexcept>

namespace instep::test {

namespace {

std::string unique_name() {
    static std::atomic<int> made = 0;
    return "test_" + std::to_string(++made);
}

}  // namespace

PostgresDatabase::PostgresDatabase(PostgresServer& server, Options options)
    : server_(server), name_(options.name.empty() ? unique_name() : std::move(options.name)) {
    std::string order;
    // Older servers know one order of texts for all of their databases.
    if (run_postgres(server_.url(),
                     "SELECT current_setting('server_version_num')::int >= 150000") == "t") {
        order = options.icu_locale.empty()
                    ? "LOCALE_PROVIDER libc"
                    : "LOCALE_PROVIDER icu ICU_LOCALE '" + options.icu_locale + "'";
    }
    run_postgres(server_.url(), "CREATE DATABASE \"" + name_ +
                                    "\" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8' " +
                                    order);
}

PostgresDatabase::~PostgresDatabase() {
    // FORCE ends connections, but an active replication slot makes it give up before. A server
    // that the test has stopped takes the database with its folder.
    try {
        run_postgres(server_.url(),
                     "SELECT pg_terminate_backend(pid, 120000) FROM pg_stat_activity "
                     "WHERE datname = '" +
                         name_ + "'");
        run_postgres(server_.url(), "DROP DATABASE \"" + name_ + "\" WITH (FORCE)");
    } catch (const std::runtime_error&) {
        return;
    }
}

std::string run_postgres(const std::string& url, const std::string& statements) {
    return PostgresSession(url).run(statements);
}

}  // namespace instep::test
