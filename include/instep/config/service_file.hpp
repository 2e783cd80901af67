// The service file: TOML that describes one service. See docs/reference/service-file.md.
#pragma once

#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"
#include "instep/capture/capture.hpp"
#include "instep/capture/contract.hpp"
#include "instep/log/publish_contract.hpp"
#include "instep/replica/replica.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// A [[subscription]]: events that code of the service handles.
struct SubscriptionEntry {
    /// Unique in the file; the broker knows it as "<service>.<name>".
    std::string name;

    /// What it reads, such as "shop.order".
    std::string topic;
    StartAt start_at = StartAt::kEarliest;

    /// Tries of an event before its key is a dead letter; 0: without end.
    std::uint32_t attempts_max = 10;

    /// Delay behind the first failure, which doubles up to the second one.
    std::chrono::seconds retry_first{1};
    std::chrono::seconds retry_max{300};

    /// What becomes of an event after its last try.
    OnFailure on_failure = OnFailure::kBlockKey;

    /// [[subscription.on]]: instead of these, for errors of some classes.
    std::map<ErrorCode, FailurePolicy> policies{};

    /// Ends of the process while it tries an event alone before the event is given up; 0: never.
    std::uint32_t crashes_max = 3;

    /// Failures in a row by which the target counts as down, and for how long it is left alone
    /// then; 0: it never does.
    std::uint32_t circuit_failures = 5;
    std::chrono::seconds circuit_open_for{30};

    /// Events in a second over all processes; 0: no limit.
    std::uint32_t rate_limit = 0;

    /// Where the subscription stops taking events.
    std::uint64_t parked_keys_max = 100'000;
    std::uint64_t parked_mib_max = 1024;

    /// A handler that takes longer is logged.
    std::chrono::seconds slow_after{10};
};

/// A service file that was read and found sound in itself; whether the database agrees is for
/// `instep check`. Paths in URLs are absolute.
struct ServiceConfig {
    /// Where it was read from, for messages.
    std::string path;

    /// [service] name, database and broker.
    std::string name;
    std::string database;
    std::string broker;

    /// Parts that the log and its topics are divided into, 1 to 64. Cannot be changed later.
    std::uint32_t partitions = 1;

    /// Who takes changes of published tables. kWal: on PostgreSQL and with one partition only.
    CaptureBy capture = CaptureBy::kTriggers;

    /// How much of its log the server may keep for a relay that does not read it.
    std::uint64_t wal_budget_mib = 4096;

    /// How long an event stays in the log, and on an embedded broker, after everybody has
    /// read it.
    std::chrono::seconds log_retention{std::chrono::hours{24}};
    std::chrono::seconds broker_retention{std::chrono::hours{24}};

    /// How long the inbox and tombstones remember; longer than any event may still come again.
    std::chrono::seconds memory_retention{std::chrono::hours{24 * 7}};

    /// Rows that backfills, verifications and repairs read of a partition in a second; 0 for no
    /// limit.
    std::uint32_t scan_rows_per_second = 0;

    /// Entities whose changes go to the topic of whole transactions too.
    std::vector<std::string> transactions;

    /// The file of the contract that handlers publish by; empty: there is none.
    std::string contract;

    /// Where metrics and health are shown, "127.0.0.1:9464"; empty: nowhere.
    std::string listen;

    /// The URL of a collector of traces; empty: no spans are made.
    std::string otlp;

    std::vector<PublishEntry> publish;
    std::vector<ReplicaDefinition> replicas;
    std::vector<SubscriptionEntry> subscriptions;
};

/// Reads an environment variable; nothing if it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

/// Reads the variables of this process.
Environment process_environment();

/// Errors: kNotFound or kPermissionDenied for the file; kConfigInvalid with file, line, column,
/// what was expected and, for an unknown key, the nearest known one.
Result<ServiceConfig> load_service_file(const std::string& path, const Environment& environment);

/// The same from text. Relative paths in URLs are taken from the folder of `path`.
Result<ServiceConfig> parse_service_file(std::string_view text, const std::string& path,
                                         const Environment& environment);

/// The contract that the service file names, ready for use; nothing if it names none. Errors: those
/// of reading the file and of PublishContract::compile(), with the file's name.
Result<std::optional<PublishContract>> load_publish_contract(const ServiceConfig& config);

/// A URL with its variables replaced, as in a service file. Errors: kConfigInvalid for one that is
/// not set.
Result<std::string> resolve_url(std::string_view text, const Environment& environment);

/// One setting of the service file: the table that validation, documentation and
/// `instep init` are made from.
struct Setting {
    /// "service", "publish", "replica", "subscription" or "subscription.on".
    std::string_view table;
    std::string_view key;

    /// "text", "integer", "duration", "list of text", "text or list of text",
    /// "list or table of text" or "list of tables".
    std::string_view type;

    /// As written in TOML; empty if the setting is required, or absent by default.
    std::string_view default_value{};
    bool required = false;

    /// Bounds of an integer, or of a duration in seconds.
    std::int64_t minimum = 0;
    std::int64_t maximum = 0;
    std::string_view description;
};

std::span<const Setting> settings();

}  // namespace instep
