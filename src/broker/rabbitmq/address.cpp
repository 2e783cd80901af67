#include "address.hpp"

#include "instep/telemetry/redact.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace instep::rabbitmq {

namespace {

constexpr std::uint16_t kPort = 5672;
constexpr std::uint16_t kTlsPort = 5671;
constexpr std::uint16_t kPrefetchMax = 10'000;
constexpr std::chrono::hours kHistoryMax = std::chrono::days(3650);

std::unexpected<Error> invalid(std::string_view url, std::string_view what) {
    return fail(ErrorCode::kConfigInvalid, fmt::format("broker \"{}\": {}; write "
                                                       "amqp://USER:PASSWORD@HOST:PORT/VHOST",
                                                       redact_url(url), what));
}

std::optional<std::string> percent_decoded(std::string_view text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded.push_back(text[i]);
            continue;
        }
        unsigned byte = 0;
        const std::string_view digits = text.substr(i + 1, 2);
        const char* end = digits.data() + digits.size();
        const auto [stop, error] = std::from_chars(digits.data(), end, byte, 16);
        // A zero would end the text early in the C library.
        if (digits.size() != 2 || error != std::errc{} || stop != end || byte == 0) {
            return std::nullopt;
        }
        decoded.push_back(static_cast<char>(byte));
        i += 2;
    }
    return decoded;
}

std::optional<std::uint16_t> parse_number(std::string_view text, std::uint16_t max) {
    std::uint16_t number = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc{} || stop != end || number == 0 || number > max) {
        return std::nullopt;
    }
    return number;
}

/// "90s", "30m", "12h" or "7d".
std::optional<std::chrono::seconds> parse_history(std::string_view text) {
    constexpr std::string_view kUnits = "smhd";
    constexpr std::array<std::chrono::seconds, kUnits.size()> kLengths = {
        std::chrono::seconds(1), std::chrono::minutes(1), std::chrono::hours(1),
        std::chrono::days(1)};
    const auto unit = text.empty() ? std::string_view::npos : kUnits.find(text.back());
    if (unit == std::string_view::npos) {
        return std::nullopt;
    }
    const auto number = parse_number(text.substr(0, text.size() - 1), 65535);
    if (!number || *number * kLengths[unit] > kHistoryMax) {
        return std::nullopt;
    }
    return *number * kLengths[unit];
}

/// The part of `rest` before `separator`, which goes with it; all of it if there is none.
std::string_view take_until(std::string_view& rest, char separator) {
    const std::string_view part = rest.substr(0, rest.find(separator));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    return part;
}

Result<void> read_option(std::string_view url, std::string_view name, std::string value,
                         Address& address) {
    if (name == "queue" && (value == "quorum" || value == "classic")) {
        address.queue_kind = value == "classic" ? QueueKind::kClassic : QueueKind::kQuorum;
        return {};
    }
    if (name == "prefetch") {
        const auto prefetch = parse_number(value, kPrefetchMax);
        if (!prefetch) {
            return invalid(url, fmt::format("prefetch is not 1 to {}", kPrefetchMax));
        }
        address.prefetch = *prefetch;
        return {};
    }
    if (name == "history") {
        const auto history = parse_history(value);
        if (!history) {
            return invalid(url, "history is not 1s to 3650d, in s, m, h or d");
        }
        address.history = *history;
        return {};
    }
    std::string* file = name == "ca"            ? &address.ca_file
                        : name == "certificate" ? &address.certificate_file
                        : name == "key"         ? &address.key_file
                                                : nullptr;
    if (file == nullptr) {
        return invalid(url, fmt::format("option \"{}\" or its value is not known; there are "
                                        "queue=classic, prefetch, history, ca, certificate and "
                                        "key",
                                        name));
    }
    if (!address.is_tls) {
        return invalid(url, fmt::format("option \"{}\" is for amqps://", name));
    }
    *file = std::move(value);
    return {};
}

Result<void> read_user(std::string_view url, std::string_view text, Address& address) {
    const auto user = percent_decoded(take_until(text, ':'));
    const auto password = percent_decoded(text);
    if (!user || user->empty() || !password) {
        return invalid(url, "user or password cannot be read; write %40 for @ and %2F for /");
    }
    address.user = *user;
    address.password = *password;
    return {};
}

Result<void> read_host(std::string_view url, std::string_view text, Address& address) {
    std::string_view host = text;
    std::string_view port;
    if (text.starts_with('[')) {
        host = text.substr(1, text.find(']') - 1);
        port = text.substr(std::min(text.find(']'), text.size() - 1) + 1);
        port.remove_prefix(port.starts_with(':') ? 1 : 0);
    } else {
        host = take_until(text, ':');
        port = text;
    }
    if (host.empty()) {
        return invalid(url, "it names no host");
    }
    address.host = host;
    address.port = address.is_tls ? kTlsPort : kPort;
    if (!port.empty()) {
        const auto number = parse_number(port, 65535);
        if (!number) {
            return invalid(url, "its port is not 1 to 65535");
        }
        address.port = *number;
    }
    return {};
}

}  // namespace

Result<Address> parse_address(std::string_view url) {
    Address address;
    address.display_url = redact_url(url);
    address.is_tls = url.starts_with("amqps://");
    if (!address.is_tls && !url.starts_with("amqp://")) {
        return invalid(url, "it is no amqp:// or amqps:// URL");
    }
    std::string_view options = url.substr(url.find("://") + 3);
    std::string_view path = take_until(options, '?');
    std::string_view authority = take_until(path, '/');
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
        INSTEP_TRY(read_user(url, authority.substr(0, at), address));
        authority.remove_prefix(at + 1);
    }
    INSTEP_TRY(read_host(url, authority, address));
    if (!path.empty()) {
        const auto vhost = percent_decoded(path);
        if (!vhost) {
            return invalid(url, "its vhost cannot be read; write %2F for /");
        }
        address.vhost = *vhost;
    }
    while (!options.empty()) {
        std::string_view value = take_until(options, '&');
        const std::string_view name = take_until(value, '=');
        auto decoded = percent_decoded(value);
        if (!decoded) {
            return invalid(url, fmt::format("option \"{}\" cannot be read", name));
        }
        INSTEP_TRY(read_option(url, name, *std::move(decoded), address));
    }
    return address;
}

}  // namespace instep::rabbitmq
