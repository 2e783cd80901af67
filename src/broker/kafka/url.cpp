#include "url.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace instep::kafka_broker {

namespace {

constexpr std::string_view kScheme = "kafka://";
constexpr int kReplicationMax = 32'767;

constexpr std::array<std::string_view, 10> kPassedOn = {
    "security.", "sasl.",   "ssl.",   "socket.",      "client.",
    "broker.",   "queued.", "fetch.", "compression.", "reconnect."};

std::unexpected<Error> wrong(std::string message) {
    return fail(ErrorCode::kConfigInvalid, std::move(message));
}

std::optional<std::string> decode(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        unsigned value = 0;
        const char* first = text.data() + i + 1;
        if (i + 2 >= text.size() || std::from_chars(first, first + 2, value, 16).ptr != first + 2) {
            return std::nullopt;
        }
        out += static_cast<char>(value);
        i += 2;
    }
    return out;
}

bool is_port(std::string_view text) {
    unsigned port = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, port);
    return error == std::errc{} && stop == end && port >= 1 && port <= 65'535;
}

Result<void> check_servers(std::string_view servers) {
    while (true) {
        const std::string_view server = servers.substr(0, servers.find(','));
        const auto colon = server.rfind(':');
        if (colon == 0 || colon == std::string_view::npos || !is_port(server.substr(colon + 1))) {
            return wrong(
                fmt::format("broker \"{}…\": \"{}\" must be HOST:PORT; write "
                            "kafka://host:9092,host:9092",
                            kScheme, server));
        }
        if (server.size() == servers.size()) {
            return {};
        }
        servers.remove_prefix(server.size() + 1);
    }
}

Result<void> set(Cluster& cluster, std::string_view name, std::string value) {
    const auto refuse = [&](std::string_view takes) {
        return wrong(
            fmt::format("broker {}: option {} takes {}", cluster.display_url, name, takes));
    };
    if (name == "replication") {
        const char* end = value.data() + value.size();
        const auto [stop, error] = std::from_chars(value.data(), end, cluster.replication);
        const bool is_number = error == std::errc{} && stop == end;
        if (!is_number || cluster.replication < 1 || cluster.replication > kReplicationMax) {
            return refuse("a number of copies from 1");
        }
    } else if (name == "cleanup") {
        if (value != "compact" && value != "delete") {
            return refuse("compact or delete");
        }
        cluster.cleanup = value == "compact" ? Cleanup::kCompact : Cleanup::kDelete;
    } else if (name == "static_members") {
        if (value != "on" && value != "off") {
            return refuse("on or off");
        }
        cluster.membership = value == "on" ? Membership::kStatic : Membership::kDynamic;
    } else if (std::ranges::any_of(kPassedOn,
                                   [&](auto start) { return name.starts_with(start); })) {
        cluster.properties.emplace_back(name, std::move(value));
    } else {
        return wrong(
            fmt::format("broker {}: there is no option \"{}\"; there are replication, "
                        "cleanup, static_members and the client's {}*",
                        cluster.display_url, name, fmt::join(kPassedOn, "*, ")));
    }
    return {};
}

/// Of the values of security.protocol, which the client library takes in either case.
bool names_login(std::string_view protocol) {
    return protocol.starts_with("sasl_") || protocol.starts_with("SASL_");
}

// Where one of these is missing, the client library says nothing and does not log in, or looks for
// a Kerberos ticket.
Result<void> check_login(const Cluster& cluster) {
    const auto is_there = [&](std::string_view begin) {
        return std::ranges::any_of(cluster.properties, [&](const auto& property) {
            return property.first.starts_with(begin);
        });
    };
    const bool logs_in = std::ranges::any_of(cluster.properties, [](const auto& property) {
        return property.first == "security.protocol" && names_login(property.second);
    });
    if (is_there("sasl.") && !logs_in) {
        return wrong(
            fmt::format("broker {}: the options sasl.* need security.protocol=sasl_ssl, or "
                        "sasl_plaintext in a network that is trusted",
                        cluster.display_url));
    }
    // Also spelt sasl.mechanisms.
    if (is_there("sasl.username") && !is_there("sasl.mechanism")) {
        return wrong(
            fmt::format("broker {}: sasl.username needs sasl.mechanism=SCRAM-SHA-512, or "
                        "SCRAM-SHA-256 or PLAIN, as the server has it",
                        cluster.display_url));
    }
    return {};
}

}  // namespace

Result<Cluster> parse_url(std::string_view url) {
    if (!url.starts_with(kScheme)) {
        return wrong("a Kafka broker's URL begins with kafka://");
    }
    url.remove_prefix(kScheme.size());
    const auto question = url.find('?');
    std::string_view servers = url.substr(0, question);
    if (servers.ends_with('/')) {
        servers.remove_suffix(1);
    }
    // Not shown: it may be a password.
    if (servers.find('@') != std::string_view::npos) {
        return wrong(
            "a kafka:// URL takes no user in front of its host; give the options "
            "sasl.username and sasl.password");
    }
    INSTEP_TRY(check_servers(servers));
    Cluster cluster;
    cluster.servers = servers;
    cluster.display_url = fmt::format("{}{}", kScheme, servers);
    std::string_view rest =
        question == std::string_view::npos ? std::string_view() : url.substr(question + 1);
    while (!rest.empty()) {
        const std::string_view option = rest.substr(0, rest.find('&'));
        rest.remove_prefix(std::min(option.size() + 1, rest.size()));
        const auto equals = option.find('=');
        const std::string_view name = option.substr(0, equals);
        if (equals == std::string_view::npos) {
            return wrong(
                fmt::format("broker {}: option {} has no value", cluster.display_url, name));
        }
        auto value = decode(option.substr(equals + 1));
        if (!value) {
            return wrong(
                fmt::format("broker {}: the value of {} has a % that is not followed by "
                            "two hexadecimal digits; write %25 for it",
                            cluster.display_url, name));
        }
        INSTEP_TRY(set(cluster, name, *std::move(value)));
    }
    INSTEP_TRY(check_login(cluster));
    return cluster;
}

}  // namespace instep::kafka_broker
