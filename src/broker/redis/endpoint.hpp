#pragma once

#include "instep/base/error.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace instep::redis {

/// What a redis:// or rediss:// URL says.
struct Endpoint {
    std::string host;
    std::string port = "6379";
    std::string user;
    std::string password;
    std::uint32_t database = 0;
    bool tls = false;
    std::string ca;
    std::string certificate;
    std::string key;
    std::uint32_t protocol = 3;
    std::string prefix = "instep";
    std::uint32_t replicas = 0;

    /// Each event is also a message of a channel.
    bool notifies = false;
    std::chrono::milliseconds timeout{5000};

    /// Without the password.
    std::string display_url;
};

/// Errors: kConfigInvalid, naming what is wrong without the password.
Result<Endpoint> parse_endpoint(std::string_view url);

}  // namespace instep::redis
