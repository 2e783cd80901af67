// The service file: TOML that describes one service. See docs/reference/service-file.md.
#pragma once

#include "instep/base/error.hpp"
#include "instep/capture/contract.hpp"
#include "instep/replica/replica.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

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

    /// How long an event stays in the log, and on an embedded broker, after everybody has
    /// read it.
    std::chrono::seconds log_retention{std::chrono::hours{24}};
    std::chrono::seconds broker_retention{std::chrono::hours{24}};

    /// How long the inbox and tombstones remember; longer than any event may still come again.
    std::chrono::seconds memory_retention{std::chrono::hours{24 * 7}};

    std::vector<PublishEntry> publish;
    std::vector<ReplicaDefinition> replicas;
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

/// One setting of the service file: the table that validation, documentation and
/// `instep init` are made from.
struct Setting {
    /// "service", "publish" or "replica".
    std::string_view table;
    std::string_view key;

    /// "text", "integer", "duration", "list of text", "text or list of text" or
    /// "list or table of text".
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
