#include "backend.hpp"
#include "instep/db/dialect.hpp"
#include "instep/db/schema.hpp"
#include "instep/service/service.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

namespace instep {

namespace {

using Severity = Finding::Severity;

/// Less than this on the disk of a database is worth a warning.
constexpr std::uintmax_t kFreeMibLow = 512;

class Check {
public:
    Check(const ServiceConfig& config, const Clock& clock) : config_(config), clock_(clock) {}

    Result<std::vector<Finding>> run() {
        INSTEP_TRY(look_at_database());
        look_at_broker();
        return std::move(findings_);
    }

private:
    void add(Severity severity, std::string subject, std::string message, std::string fix) {
        findings_.push_back({severity, std::move(subject), std::move(message), std::move(fix)});
    }

    Result<void> look_at_database() {
        INSTEP_TRY_ASSIGN(const auto database, open_database(config_.database, clock_));
        const auto connected = database->connect();
        if (!connected && connected.error().code == ErrorCode::kNotFound &&
            config_.publish.empty()) {
            add(Severity::kNote, "database", connected.error().message,
                "run `instep apply`, which creates it");
            return {};
        }
        if (!connected) {
            add(Severity::kProblem, "database", connected.error().message, "");
            return {};
        }
        Connection& connection = **connected;
        look_at_space("database", path_of(config_.database));
        INSTEP_TRY(look_at_durability(connection));
        INSTEP_TRY_ASSIGN(auto published, preflight(connection, config_.name, config_.publish));
        const bool is_sound = std::ranges::none_of(
            published, [](const Finding& f) { return f.severity == Severity::kProblem; });
        std::ranges::move(published, std::back_inserter(findings_));
        if (is_sound) {
            INSTEP_TRY(look_for_changes());
        }
        for (const ReplicaDefinition& replica : config_.replicas) {
            INSTEP_TRY(look_at_replica(connection, replica.table));
        }
        return {};
    }

    Result<void> look_at_durability(Connection& connection) {
        INSTEP_TRY_ASSIGN(auto rows, connection.query("PRAGMA journal_mode", {}));
        INSTEP_TRY(rows->next());
        const std::string journal(rows->text(0));
        INSTEP_TRY_ASSIGN(rows, connection.query("PRAGMA synchronous", {}));
        INSTEP_TRY(rows->next());
        const bool is_full = rows->integer(0) >= 2;
        const bool is_durable = journal == "wal" && is_full;
        add(is_durable ? Severity::kNote : Severity::kProblem, "database",
            fmt::format("journal_mode is {}, synchronous is {}", journal,
                        is_full ? "full" : "less than full"),
            is_durable ? ""
                       : "set journal_mode to wal; look for a build of SQLite with other "
                         "defaults");
        return {};
    }

    /// What `apply` would do, as far as this service's own file tells.
    Result<void> look_for_changes() {
        auto plan = plan_service(config_, clock_, {});
        if (!plan) {
            add(Severity::kProblem, "service " + config_.name, plan.error().message, "");
            return {};
        }
        for (const SchemaChange& change : *plan) {
            add(Severity::kProblem, "service " + config_.name,
                fmt::format("not in force yet: {}", change.summary), "run `instep apply`");
        }
        return {};
    }

    /// Constraints that the owner does not have can refuse its rows.
    Result<void> look_at_replica(Connection& connection, const std::string& table) {
        const auto described = connection.dialect().describe_table(connection, table);
        if (!described && described.error().code == ErrorCode::kNotFound) {
            return {};
        }
        INSTEP_TRY(described);
        const std::string subject = "replica " + table;
        if (!described->unique_indexes.empty()) {
            add(Severity::kWarning, subject,
                fmt::format("has unique indexes besides its key: {}; rows can meet in another "
                            "order than at the owner, and one that an index refuses is parked",
                            fmt::join(described->unique_indexes, ", ")),
                "make them plain indexes");
        }
        INSTEP_TRY_ASSIGN(
            auto rows,
            connection.query("SELECT DISTINCT child.name, parent.\"table\" FROM sqlite_schema AS "
                             "child, pragma_foreign_key_list(child.name) AS parent WHERE "
                             "child.type = 'table' AND $1 IN (child.name, parent.\"table\") "
                             "ORDER BY 1, 2",
                             std::initializer_list<ValueView>{std::string_view(table)}));
        for (;;) {
            INSTEP_TRY_ASSIGN(const bool more, rows->next());
            if (!more) {
                return {};
            }
            add(Severity::kWarning, subject,
                fmt::format("a foreign key leads from {} to {}: rows arrive and go without regard "
                            "for it, and one that it refuses is parked",
                            rows->text(0), rows->text(1)),
                "drop the foreign key");
        }
    }

    void look_at_space(std::string subject, const std::filesystem::path& file) {
        std::error_code failed;
        const auto space = std::filesystem::space(file.parent_path(), failed);
        if (!failed && space.available >> 20U < kFreeMibLow) {
            add(Severity::kWarning, std::move(subject),
                fmt::format("{} MiB are free for {}", space.available >> 20U, file.string()),
                "free space before the disk is full");
        }
    }

    void look_at_broker() {
        if (path_of(config_.broker) == path_of(config_.database)) {
            add(Severity::kProblem, "broker", "is the service's own database",
                "give the broker a file of its own");
            return;
        }
        const std::filesystem::path path = path_of(config_.broker);
        std::error_code failed;
        if (config_.broker.starts_with("embedded:") && !std::filesystem::exists(path, failed) &&
            std::filesystem::is_directory(path.parent_path(), failed)) {
            add(Severity::kNote, "broker", fmt::format("{} does not exist yet", path.string()),
                "the first service that runs creates it");
            return;
        }
        Brokers brokers(clock_);
        const auto broker = brokers.open(config_.broker);
        const auto reached = broker ? (*broker)->lag("") : std::unexpected(broker.error());
        if (!reached) {
            add(Severity::kProblem, "broker", reached.error().message, "");
            return;
        }
        look_at_space("broker", path);
    }

    const ServiceConfig& config_;
    const Clock& clock_;
    std::vector<Finding> findings_;
};

}  // namespace

Result<std::vector<Finding>> check_service(const ServiceConfig& config, const Clock& clock) {
    return Check(config, clock).run();
}

}  // namespace instep
