#include "demo_databases.hpp"

#include "command.hpp"
#include "instep/db/database.hpp"
#include "instep/db/dialect.hpp"
#include "instep/service/service.hpp"
#include "instep/telemetry/redact.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>

namespace instep::cli {

namespace {

constexpr std::array<std::string_view, 4> kFiles = {"sqlite:iam.db", "sqlite:data_owner.db",
                                                    "sqlite:processing.db", "sqlite:admin.db"};
constexpr std::array<std::string_view, 4> kNames = {"iam_db", "core_db", "processing_db",
                                                    "admin_db"};

/// Identifiers on a server have at most 63 bytes.
constexpr std::size_t kPrefixMax = 40;

/// The comment of a database that a demo has made, by which the next one knows it.
constexpr std::string_view kMark = "Made by instep demo, which replaces and drops it.";

bool is_server(std::string_view url) {
    return url.starts_with("postgresql://") || url.starts_with("postgres://");
}

/// Where the database's name begins in the URL, with its slash, and where it ends.
std::pair<std::size_t, std::size_t> database_part(std::string_view url) {
    const std::size_t host = url.find("://") + 3;
    return {std::min(url.find_first_of("/?", host), url.size()),
            std::min(url.find('?', host), url.size())};
}

std::string with_database(std::string_view url, std::string_view name) {
    const auto [begin, end] = database_part(url);
    return fmt::format("{}/{}{}", url.substr(0, begin), name, url.substr(end));
}

/// Every server has a database "postgres", unless somebody took it away.
std::string first_database(const std::string& url) {
    const auto [begin, end] = database_part(url);
    return end - begin > 1 ? url : with_database(url, "postgres");
}

Result<void> check(const DemoPlace& place) {
    if (place.database != "sqlite:" && !is_server(place.database)) {
        return fail(ErrorCode::kConfigInvalid,
                    fmt::format("--database takes \"sqlite:\" or postgresql://user@host:port, not "
                                "\"{}\"",
                                redact_url(place.database)));
    }
    // It would lead all four services to one database, and that is somebody's.
    if (is_server(place.database) &&
        place.database.find("dbname=", database_part(place.database).second) != std::string::npos) {
        return fail(ErrorCode::kConfigInvalid,
                    "--database names a server here; leave dbname= out of its URL");
    }
    const bool is_name = std::ranges::all_of(place.prefix, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
    if (!is_name || place.prefix.size() > kPrefixMax) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("--prefix takes up to {} small letters, digits and underscores, "
                                "not \"{}\"",
                                kPrefixMax, place.prefix));
    }
    return {};
}

/// What the database's comment is, or nothing if there is no such database.
Result<std::optional<std::string>> comment_of(Connection& server, std::string_view name) {
    const ValueView parameters[] = {name};
    INSTEP_TRY_ASSIGN(const auto row,
                      server.query("SELECT coalesce(shobj_description(oid, 'pg_database'), '') "
                                   "FROM pg_database WHERE datname = $1::text",
                                   parameters));
    INSTEP_TRY_ASSIGN(const bool found, row->next());
    return found ? std::optional(std::string(row->text(0))) : std::nullopt;
}

Result<void> drop_earlier(Connection& server, std::string_view name) {
    const auto dropped =
        server.execute(fmt::format("DROP DATABASE {}", server.dialect().quote(name)), {});
    if (!dropped && dropped.error().code == ErrorCode::kBusy) {
        return fail(ErrorCode::kConflict,
                    fmt::format("database {} of an earlier demo is in use; end that demo and its "
                                "services, or give another --prefix",
                                name));
    }
    INSTEP_TRY(dropped);
    return {};
}

}  // namespace

void DemoPlace::add_to(Command& command) {
    command.option("--dir", directory,
                   "Where its files go: a new or empty folder, or an earlier demo's");
    command.option("--database", database,
                   "The databases: \"sqlite:\" for files in the folder, or a server's URL");
    command.option("--broker", broker,
                   "The broker: \"embedded:\" for a file in the folder, or a server's URL");
    command.option("--prefix", prefix, "How its databases on a server begin");
    command.flag("--keep", keep, "Leave its databases on the server");
}

Result<DemoDatabases> DemoDatabases::create(const DemoPlace& place, const Clock& clock) {
    INSTEP_TRY(check(place));
    DemoDatabases databases;
    databases.keep_ = place.keep;
    if (!is_server(place.database)) {
        databases.urls_.assign(kFiles.begin(), kFiles.end());
        return databases;
    }
    INSTEP_TRY_ASSIGN(const auto first, open_database(first_database(place.database), clock));
    INSTEP_TRY_ASSIGN(databases.server_, first->connect());
    INSTEP_TRY(databases.make_on_server(place));
    return databases;
}

Result<void> DemoDatabases::make_on_server(const DemoPlace& place) {
    std::vector<std::string> earlier;
    std::vector<std::string> names;
    for (const std::string_view name : kNames) {
        names.push_back(fmt::format("{}{}", place.prefix, name));
        urls_.push_back(with_database(place.database, names.back()));
        INSTEP_TRY_ASSIGN(const auto comment, comment_of(*server_, names.back()));
        if (comment && *comment != kMark) {
            return fail(ErrorCode::kConflict,
                        fmt::format("the server has a database {} that no demo has made; give "
                                    "another --prefix than \"{}\"",
                                    names.back(), place.prefix));
        }
        if (comment) {
            earlier.push_back(names.back());
        }
    }
    for (const std::string& name : earlier) {
        INSTEP_TRY(drop_earlier(*server_, name));
    }
    for (const std::string& name : names) {
        const std::string quoted = server_->dialect().quote(name);
        // template0, because only that one takes another encoding than its own.
        INSTEP_TRY(server_->execute(
            fmt::format("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", quoted), {}));
        made_.push_back(name);
        INSTEP_TRY(
            server_->execute(fmt::format("COMMENT ON DATABASE {} IS '{}'", quoted, kMark), {}));
    }
    return {};
}

DemoDatabases::DemoDatabases(DemoDatabases&& other) noexcept
    : server_(std::move(other.server_)),
      urls_(std::move(other.urls_)),
      made_(std::exchange(other.made_, {})),
      keep_(other.keep_) {}

DemoDatabases::~DemoDatabases() {
    // What cannot be dropped now, the next demo replaces.
    std::ignore = drop();
}

Result<void> DemoDatabases::drop() {
    while (!keep_ && !made_.empty()) {
        INSTEP_TRY(server_->execute(fmt::format("DROP DATABASE IF EXISTS {} WITH (FORCE)",
                                                server_->dialect().quote(made_.back())),
                                    {}));
        made_.pop_back();
    }
    return {};
}

}  // namespace instep::cli
