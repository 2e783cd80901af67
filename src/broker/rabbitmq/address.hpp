// What a broker URL says.
#pragma once

#include "instep/base/error.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace instep::rabbitmq {

enum class QueueKind : std::uint8_t { kQuorum, kClassic };

struct Address {
    std::string host;
    std::uint16_t port = 0;
    std::string vhost = "/";
    std::string user = "guest";
    std::string password = "guest";
    bool is_tls = false;
    std::string ca_file;
    std::string certificate_file;
    std::string key_file;
    QueueKind queue_kind = QueueKind::kQuorum;
    std::uint16_t prefetch = 1000;

    /// How long a topic's past is kept at least; 0: not at all.
    std::chrono::seconds history{0};

    /// For messages.
    std::string display_url;
};

/// Errors: kConfigInvalid.
Result<Address> parse_address(std::string_view url);

}  // namespace instep::rabbitmq
