#include "backend.hpp"
#include "check_postgres.hpp"
#include "check_sqlite.hpp"
#include "direct.hpp"
#include "instep/db/dialect.hpp"
#include "instep/service/service.hpp"
#include "subscriptions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

namespace instep {

namespace {

/// Less than this on the disk of a database is worth a warning.
constexpr std::uintmax_t kFreeMibLow = 512;

Finding from_broker(const BrokerFinding& found) {
    Finding::Severity severity = Finding::Severity::kNote;
    if (found.severity == BrokerFinding::Severity::kProblem) {
        severity = Finding::Severity::kProblem;
    } else if (found.severity == BrokerFinding::Severity::kWarning) {
        severity = Finding::Severity::kWarning;
    }
    return {severity, fmt::format("broker: {}", found.subject), found.message, found.fix};
}

class Check {
public:
    Check(const ServiceConfig& config, const Clock& clock) : config_(config), clock_(clock) {}

    Result<std::vector<Finding>> run() {
        INSTEP_TRY(look_at_database());
        look_at_broker();
        look_at_contract();
        return findings_.all();
    }

private:
    Result<void> look_at_database() {
        auto database = open_database(config_.database, clock_);
        if (!database) {
            findings_.problem("database", database.error().message, "correct the URL");
            return {};
        }
        const auto connected = (*database)->connect();
        if (!connected) {
            tell_of_no_connection(connected.error());
            return {};
        }
        Connection& connection = **connected;
        const bool on_server = is_postgres(config_.database);
        if (on_server) {
            INSTEP_TRY(look_at_server(connection,
                                      {.url = config_.database, .capture = config_.capture}, clock_,
                                      findings_));
            INSTEP_TRY(look_at_rights(connection, config_, findings_));
        } else {
            look_at_space("database", path_of(config_.database));
            INSTEP_TRY(look_at_sqlite(connection, findings_));
        }
        INSTEP_TRY(look_at_entries(connection));
        return look_at_replicas(connection);
    }

    void tell_of_no_connection(const Error& error) {
        const bool on_server = is_postgres(config_.database);
        if (error.code == ErrorCode::kNotFound && config_.publish.empty() && !on_server) {
            findings_.note("database", error.message, "run `instep apply`, which creates it");
            return;
        }
        std::string fix;
        if (on_server && error.code == ErrorCode::kNotFound) {
            fix = "CREATE DATABASE …; or correct the URL";
        } else if (on_server && error.code == ErrorCode::kUnavailable) {
            fix = "start the server, or correct host and port";
        } else if (on_server && error.code == ErrorCode::kSchemaMismatch) {
            fix = "upgrade the server";
        }
        findings_.problem("database", error.message, std::move(fix));
    }

    Result<void> look_at_entries(Connection& connection) {
        INSTEP_TRY_ASSIGN(auto published, preflight(connection, config_.name, config_.publish));
        const bool is_sound = std::ranges::none_of(published, [](const Finding& found) {
            return found.severity == Finding::Severity::kProblem;
        });
        for (Finding& finding : published) {
            findings_.add(std::move(finding));
        }
        if (is_postgres(config_.database)) {
            for (const PublishEntry& entry : config_.publish) {
                if (const auto contract = bind_contract(connection, config_.name, entry)) {
                    INSTEP_TRY(
                        look_at_published(connection, *contract, config_.capture, findings_));
                }
            }
        }
        if (is_sound) {
            look_for_changes();
        }
        return {};
    }

    /// What `apply` would do, as far as this service's own file tells.
    void look_for_changes() {
        const auto plan = plan_service(config_, clock_, {});
        if (!plan) {
            findings_.problem("service " + config_.name, plan.error().message, "");
            return;
        }
        for (const SchemaChange& change : *plan) {
            findings_.problem("service " + config_.name,
                              fmt::format("not in force yet: {}", change.summary),
                              "run `instep apply`");
        }
    }

    /// Constraints that the owner does not have can refuse its rows.
    Result<void> look_at_replicas(Connection& connection) {
        // Before the first apply there are none.
        const auto standing = list_replicas(connection);
        for (const ReplicaDefinition& replica : config_.replicas) {
            const auto described = connection.dialect().describe_table(connection, replica.table);
            if (!described && described.error().code == ErrorCode::kNotFound) {
                continue;
            }
            INSTEP_TRY(described);
            const auto group = tables_applied_with(config_, replica);
            if (!is_postgres(config_.database)) {
                INSTEP_TRY(look_at_sqlite_replica(connection, {replica, group}, findings_));
                continue;
            }
            const Contract* contract = nullptr;
            if (standing) {
                const auto known =
                    std::ranges::find(*standing, replica.table, &ReplicaStatus::table);
                contract =
                    known != standing->end() && known->contract ? &*known->contract : nullptr;
            }
            INSTEP_TRY(look_at_replica_table(connection, {replica, group}, contract, findings_));
        }
        return {};
    }

    void look_at_space(std::string subject, const std::filesystem::path& file) {
        std::error_code failed;
        const auto space = std::filesystem::space(file.parent_path(), failed);
        if (!failed && space.available >> 20U < kFreeMibLow) {
            findings_.warning(
                std::move(subject),
                fmt::format("{} MiB are free for {}", space.available >> 20U, file.string()),
                "free space before the disk is full");
        }
    }

    void look_at_broker() {
        if (is_direct(config_.broker)) {
            findings_.note("broker",
                           "there is none: followers read this log themselves, and this service "
                           "those of its owners",
                           "");
            look_at_owners();
            return;
        }
        if (config_.broker.starts_with("embedded:") && !look_at_broker_file()) {
            return;
        }
        Brokers brokers(clock_);
        const auto broker = brokers.open(config_.broker);
        const auto reached = broker ? (*broker)->lag("") : std::unexpected(broker.error());
        if (!reached) {
            findings_.problem("broker", reached.error().message, "");
            return;
        }
        const auto examined = (*broker)->examine();
        if (!examined) {
            findings_.problem("broker", examined.error().message, "");
            return;
        }
        for (const BrokerFinding& found : *examined) {
            findings_.add(from_broker(found));
        }
    }

    /// Those that the file names; others may be in the same command.
    void look_at_owners() {
        Brokers brokers(clock_);
        if (const auto owners = brokers.open(config_); !owners) {
            findings_.problem("broker", owners.error().message,
                              "correct `broker = \"direct:FILE\"`, or that file");
        }
    }

    /// False if there is nothing to open.
    bool look_at_broker_file() {
        const std::filesystem::path path = path_of(config_.broker);
        if (path == path_of(config_.database)) {
            findings_.problem("broker", "is the service's own database",
                              "give the broker a file of its own");
            return false;
        }
        std::error_code failed;
        if (!std::filesystem::exists(path, failed) &&
            std::filesystem::is_directory(path.parent_path(), failed)) {
            findings_.note("broker", fmt::format("{} does not exist yet", path.string()),
                           "the first service that runs creates it");
            return false;
        }
        look_at_space("broker", path);
        return true;
    }

    void look_at_contract() {
        if (const auto contract = load_publish_contract(config_); !contract) {
            findings_.problem("contract", contract.error().message,
                              "correct the file, or `contract` in the service file");
        }
    }

    const ServiceConfig& config_;
    const Clock& clock_;
    Findings findings_;
};

}  // namespace

Result<std::vector<Finding>> check_service(const ServiceConfig& config, const Clock& clock) {
    return Check(config, clock).run();
}

}  // namespace instep
