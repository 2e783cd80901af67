#include "instep/telemetry/redact.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace instep {

namespace {

constexpr std::string_view kHidden = "***";

bool names_secret(std::string_view parameter) {
    static constexpr std::array<std::string_view, 5> kMarks = {"pass", "pwd", "secret", "token",
                                                               "key"};
    std::string lower(parameter);
    std::ranges::transform(lower, lower.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::ranges::any_of(
        kMarks, [&](std::string_view mark) { return lower.find(mark) != std::string::npos; });
}

/// A password may hold '/', '?' or '@' where somebody forgot to escape it, so everything up to
/// the last '@' counts as user and password.
std::string redact_authority(std::string_view url) {
    const auto scheme_end = url.find("://");
    const auto start = scheme_end == std::string_view::npos ? 0 : scheme_end + 3;
    const auto at = url.rfind('@');
    if (at == std::string_view::npos || at < start) {
        return std::string(url);
    }
    const auto colon = url.find(':', start);
    if (colon == std::string_view::npos || colon > at) {
        return std::string(url);
    }
    return std::string(url.substr(0, colon + 1)).append(kHidden).append(url.substr(at));
}

}  // namespace

std::string redact_url(std::string_view url) {
    const std::string shown = redact_authority(url);
    std::string out;
    std::string_view rest = shown;
    while (!rest.empty()) {
        const auto name_length = rest.find_first_of("?&; =");
        const auto separator = std::min(name_length, rest.size() - 1);
        const std::string_view name = rest.substr(0, separator);
        out.append(rest.substr(0, separator + 1));
        const bool has_value = rest[separator] == '=';
        rest.remove_prefix(separator + 1);
        if (has_value) {
            const bool secret = names_secret(name);
            // A quoted value may hold anything, so the rest goes with it.
            const bool quoted = rest.starts_with('\'');
            const std::string_view value =
                secret && quoted ? rest : rest.substr(0, rest.find_first_of("&; "));
            out.append(secret ? kHidden : value);
            rest.remove_prefix(value.size());
        }
    }
    return out;
}

}  // namespace instep
