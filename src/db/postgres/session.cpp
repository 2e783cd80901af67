#include "session.hpp"

#include "failure.hpp"
#include "result.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace instep::postgres {

namespace {

constexpr int kServerVersionMin = 130'000;

Handle connect(const std::string& url) {
    // What stands before dbname is a default, which the URL may overrule.
    const char* const keywords[] = {"connect_timeout",
                                    "keepalives_idle",
                                    "tcp_user_timeout",
                                    "fallback_application_name",
                                    "dbname",
                                    "client_encoding",
                                    nullptr};
    const char* const values[] = {"10", "30", "30000", "instep", url.c_str(), "UTF8", nullptr};
    return Handle(PQconnectdbParams(keywords, values, 1));
}

/// What only the server knows.
struct ServerFacts {
    int process_id = 0;
    bool is_standby = false;

    /// The search path begins with our own schema: the user is called as it is.
    bool is_in_own_schema = false;
};

Result<ServerFacts> ask(PGconn* connection, std::string_view display_url) {
    const ServerResult answer(PQexec(connection,
                                     "SELECT pg_backend_pid(), pg_is_in_recovery(), "
                                     "coalesce(current_schema() = 'instep', false)"));
    if (!is_good(answer.get())) {
        return failure(connection, answer.get(), display_url);
    }
    return ServerFacts{std::atoi(PQgetvalue(answer.get(), 0, 0)),
                       *PQgetvalue(answer.get(), 0, 1) == 't',
                       *PQgetvalue(answer.get(), 0, 2) == 't'};
}

}  // namespace

std::string settings_script(const ConnectOptions& options, std::string_view set) {
    // A lock_timeout of 0 would wait for ever.
    const auto patience = std::max<std::int64_t>(options.lock_patience.count(), 1);
    std::string script = fmt::format(
        "{0} TimeZone = 'UTC'; {0} DateStyle = 'ISO, YMD'; {0} IntervalStyle = 'postgres'; "
        "{0} extra_float_digits = 1; {0} bytea_output = 'hex'; {0} lc_monetary = 'C'; "
        "{0} standard_conforming_strings = on; {0} client_min_messages = warning; "
        "{0} jit = off; {0} lock_timeout = {1}; ",
        set, patience);
    if (options.durability == Durability::kProcess) {
        script += fmt::format("{} synchronous_commit = off; ", set);
    }
    return script;
}

Result<void> check_server_version(int version, std::string_view display_url) {
    if (version < kServerVersionMin) {
        return fail(ErrorCode::kSchemaMismatch,
                    fmt::format("{} is PostgreSQL {}; 13 or later is needed", display_url,
                                version < 100'000
                                    ? fmt::format("{}.{}", version / 10'000, version / 100 % 100)
                                    : fmt::format("{}", version / 10'000)));
    }
    return {};
}

Result<Session> open_session(const SessionOptions& options) {
    Session session;
    session.handle = connect(options.url);
    PGconn* connection = session.handle.get();
    if (PQstatus(connection) != CONNECTION_OK) {
        return connect_failure(connection, options.display_url);
    }
    INSTEP_TRY(check_server_version(PQserverVersion(connection), options.display_url));
    INSTEP_TRY_ASSIGN(const ServerFacts server, ask(connection, options.display_url));
    if (server.is_standby) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{} is a standby; name the primary, or all hosts with "
                                "target_session_attrs=read-write",
                                options.display_url));
    }
    if (server.is_in_own_schema) {
        // "$user" in the search path would make the service's own tables ours.
        return fail(ErrorCode::kConfigInvalid,
                    fmt::format("{}: the search path begins with schema instep, which holds "
                                "Instep's own tables; connect as a user of another name, or ALTER "
                                "ROLE … SET search_path = public",
                                options.display_url));
    }
    // A pooler that lends server processes by the transaction makes its own number up.
    session.is_pooled = server.process_id != PQbackendPID(connection);
    if (!session.is_pooled) {
        const std::string script = settings_script(options.connect, "SET");
        const ServerResult done(PQexec(connection, script.c_str()));
        if (!is_good(done.get())) {
            return failure(connection, done.get(), options.display_url, script);
        }
    }
    return session;
}

Result<std::string> display_url_of(const std::string& url) {
    char* message = nullptr;
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
        PQconninfoParse(url.c_str(), &message), &PQconninfoFree);
    const std::unique_ptr<char, decltype(&PQfreemem)> freed(message, &PQfreemem);
    const bool is_url = url.starts_with("postgresql://") || url.starts_with("postgres://");
    if (options == nullptr || !is_url) {
        // libpq's message may repeat a password.
        return fail(ErrorCode::kInvalidArgument,
                    "the database's URL cannot be read; write "
                    "postgresql://user@host:port/database");
    }
    std::map<std::string_view, std::string_view> parts;
    for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
        if (option->val != nullptr) {
            parts[option->keyword] = option->val;
        }
    }
    return fmt::format("postgresql://{}{}{}{}{}/{}", parts["user"],
                       parts["user"].empty() ? "" : "@", parts["host"],
                       parts["port"].empty() ? "" : ":", parts["port"], parts["dbname"]);
}

}  // namespace instep::postgres
