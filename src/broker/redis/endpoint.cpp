#include "endpoint.hpp"

#include "instep/telemetry/redact.hpp"

#include <fmt/format.h>

#include <charconv>
#include <set>

namespace instep::redis {

namespace {

constexpr std::string_view kForm =
    "redis://[[user]:password@]host[:port][/database][?options], or rediss:// for TLS";

std::unexpected<Error> invalid(std::string_view url, std::string_view what) {
    return fail(ErrorCode::kConfigInvalid,
                fmt::format("broker \"{}\": {}; a URL is {}", redact_url(url), what, kForm));
}

bool read_number(std::string_view text, std::uint32_t min, std::uint32_t max,
                 std::uint32_t& value) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    return error == std::errc{} && stop == end && value >= min && value <= max;
}

bool decode(std::string_view text, std::string& decoded) {
    decoded.clear();
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded += text[i];
            continue;
        }
        unsigned int byte = 0;
        const char* digits = text.data() + i + 1;
        if (i + 2 >= text.size() ||
            std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2) {
            return false;
        }
        decoded += static_cast<char>(byte);
        i += 2;
    }
    return true;
}

/// True if `name` is an option and `value` one of its values.
bool read_option(std::string_view name, const std::string& value, Endpoint& endpoint) {
    if (name == "protocol") {
        return read_number(value, 2, 3, endpoint.protocol);
    }
    if (name == "replicas") {
        return read_number(value, 0, 10, endpoint.replicas);
    }
    if (name == "timeout") {
        std::uint32_t milliseconds = 0;
        const bool fits = read_number(value, 100, 60'000, milliseconds);
        endpoint.timeout = std::chrono::milliseconds(milliseconds);
        return fits;
    }
    if (name == "prefix") {
        endpoint.prefix = value;
        return !value.empty() && value.find_first_of("{}") == std::string::npos;
    }
    if (name == "notify") {
        endpoint.notifies = value == "pubsub";
        return endpoint.notifies;
    }
    const bool is_file = endpoint.tls && !value.empty();
    if (name == "ca") {
        endpoint.ca = value;
        return is_file;
    }
    if (name == "cert") {
        endpoint.certificate = value;
        return is_file;
    }
    if (name == "key") {
        endpoint.key = value;
        return is_file;
    }
    return false;
}

Result<void> read_options(std::string_view url, std::string_view options, Endpoint& endpoint) {
    std::set<std::string_view> seen;
    while (!options.empty()) {
        const std::string_view option = options.substr(0, options.find('&'));
        options.remove_prefix(std::min(option.size() + 1, options.size()));
        const auto equals = option.find('=');
        const std::string_view name = option.substr(0, equals);
        std::string value;
        if (equals == std::string_view::npos || !seen.insert(name).second ||
            !decode(option.substr(equals + 1), value) || !read_option(name, value, endpoint)) {
            return invalid(url, fmt::format("option \"{}\" is unknown, comes twice or has a value "
                                            "that it cannot have (ca, cert and key are of "
                                            "rediss://)",
                                            name));
        }
    }
    if (endpoint.certificate.empty() != endpoint.key.empty()) {
        return invalid(url, "cert and key belong together");
    }
    return {};
}

bool read_login(std::string_view login, Endpoint& endpoint) {
    const auto colon = login.find(':');
    return colon != std::string_view::npos && decode(login.substr(0, colon), endpoint.user) &&
           decode(login.substr(colon + 1), endpoint.password) && !endpoint.password.empty();
}

bool read_address(std::string_view address, Endpoint& endpoint) {
    std::string_view port;
    if (address.starts_with('[')) {
        const auto close = address.find(']');
        if (close == std::string_view::npos) {
            return false;
        }
        endpoint.host = address.substr(1, close - 1);
        port = address.substr(close + 1);
    } else {
        const auto colon = address.find(':');
        endpoint.host = address.substr(0, colon);
        port = colon == std::string_view::npos ? std::string_view() : address.substr(colon);
    }
    std::uint32_t number = 0;
    if (!port.empty() && (port[0] != ':' || !read_number(port.substr(1), 1, 65535, number))) {
        return false;
    }
    if (number != 0) {
        endpoint.port = std::to_string(number);
    }
    return !endpoint.host.empty();
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view url) {
    Endpoint endpoint;
    endpoint.display_url = redact_url(url);
    std::string_view rest = url;
    endpoint.tls = rest.starts_with("rediss://");
    const std::string_view scheme = endpoint.tls ? "rediss://" : "redis://";
    if (!rest.starts_with(scheme)) {
        return invalid(url, "its scheme is another");
    }
    rest.remove_prefix(scheme.size());
    const auto question = rest.find('?');
    if (question != std::string_view::npos) {
        INSTEP_TRY(read_options(url, rest.substr(question + 1), endpoint));
        rest = rest.substr(0, question);
    }
    if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
        if (!read_login(rest.substr(0, at), endpoint)) {
            return invalid(url,
                           "the login is not [user]:password, with %XX for special characters");
        }
        rest.remove_prefix(at + 1);
    }
    const auto slash = rest.find('/');
    if (slash != std::string_view::npos) {
        const std::string_view database = rest.substr(slash + 1);
        if (!database.empty() && !read_number(database, 0, 1'000'000, endpoint.database)) {
            return invalid(url, "the database is a number");
        }
        rest = rest.substr(0, slash);
    }
    if (!read_address(rest, endpoint)) {
        return invalid(url, "the host is missing or the port is no port");
    }
    return endpoint;
}

}  // namespace instep::redis
