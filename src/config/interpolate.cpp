#include "interpolate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace instep {

namespace {

bool is_variable_name(std::string_view name) {
    const auto is_letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    return !name.empty() && is_letter(name.front()) && std::ranges::all_of(name, [&](char c) {
        return is_letter(c) || (c >= '0' && c <= '9');
    });
}

/// `expression` is what stands between the braces.
Result<std::string> evaluate(std::string_view expression, const Environment& environment) {
    const std::size_t separator = expression.find(":-");
    const std::string name(expression.substr(0, separator));
    if (!is_variable_name(name)) {
        return fail(ErrorCode::kConfigInvalid,
                    fmt::format("\"{}\" is no name of an environment variable; write ${{NAME}} or "
                                "${{NAME:-default}}, and $${{ for the two characters themselves",
                                name));
    }
    std::optional<std::string> value = environment(name);
    if (separator != std::string_view::npos) {
        return value && !value->empty() ? *value : std::string(expression.substr(separator + 2));
    }
    if (!value) {
        return fail(ErrorCode::kConfigInvalid,
                    fmt::format("the environment variable {0} is not set; set it, or write "
                                "${{{0}:-default}}",
                                name));
    }
    return *std::move(value);
}

}  // namespace

Result<std::string> interpolate(std::string_view text, const Environment& environment) {
    std::string result;
    while (!text.empty()) {
        const std::size_t dollar = text.find('$');
        result += text.substr(0, dollar);
        if (dollar == std::string_view::npos) {
            break;
        }
        text.remove_prefix(dollar);
        if (text.starts_with("$${")) {
            result += "${";
            text.remove_prefix(3);
            continue;
        }
        if (!text.starts_with("${")) {
            result += '$';
            text.remove_prefix(1);
            continue;
        }
        const std::size_t end = text.find('}');
        if (end == std::string_view::npos) {
            return fail(ErrorCode::kConfigInvalid,
                        "${ without }; write $${ for the two characters themselves");
        }
        INSTEP_TRY_ASSIGN(const std::string value, evaluate(text.substr(2, end - 2), environment));
        result += value;
        text.remove_prefix(end + 1);
    }
    return result;
}

Result<std::string> resolve_url(std::string_view text, const Environment& environment) {
    return interpolate(text, environment);
}

Environment process_environment() {
    return [](const std::string& name) -> std::optional<std::string> {
        const char* value = std::getenv(name.c_str());
        return value == nullptr ? std::nullopt : std::optional<std::string>(value);
    };
}

}  // namespace instep
