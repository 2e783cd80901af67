#pragma once

#include "instep/base/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace instep::kafka_broker {

/// Settings of the client library.
using Properties = std::vector<std::pair<std::string, std::string>>;

enum class Membership : std::uint8_t { kDynamic, kStatic };
enum class Cleanup : std::uint8_t { kDelete, kCompact };

/// What a kafka:// URL says.
struct Cluster {
    /// "host:port,host:port".
    std::string servers;

    /// "kafka://" and the servers: without the options, which may hold secrets.
    std::string display_url;

    Properties properties;
    int replication = -1;
    Cleanup cleanup = Cleanup::kDelete;
    Membership membership = Membership::kDynamic;
};

/// Errors: kConfigInvalid.
Result<Cluster> parse_url(std::string_view url);

}  // namespace instep::kafka_broker
