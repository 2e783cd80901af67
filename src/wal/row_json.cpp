#include "row_json.hpp"

#include "instep/event/json_writer.hpp"

#include <algorithm>
#include <cctype>

namespace instep::wal {

namespace {

bool is_array(const ContractColumn& column) { return column.declared_type.ends_with("[]"); }

bool is_time(const ContractColumn& column) {
    return column.declared_type.starts_with("timestamp") && !is_array(column);
}

std::string quoted(std::string_view text) {
    std::string json;
    append_json_string(json, text);
    return json;
}

std::string upper_hex(std::string_view text) {
    // "\x00ff"
    std::string hex(text.substr(std::min<std::size_t>(2, text.size())));
    std::ranges::transform(hex, hex.begin(), [](unsigned char c) { return std::toupper(c); });
    return hex;
}

/// JSON has a T between date and time, and minutes in the zone, which is UTC here.
std::string iso_time(const ContractColumn& column, std::string_view text) {
    std::string time(text);
    const std::size_t space = time.find(' ');
    if (space == std::string::npos) {
        return time;  // "infinity"
    }
    time[space] = 'T';
    if (column.declared_type.ends_with("with time zone")) {
        const std::size_t zone = time.rfind("+00");
        if (zone != std::string::npos) {
            time.insert(zone + 3, ":00");
        }
    }
    return time;
}

}  // namespace

std::string json_of(const ContractColumn& column, std::string_view text) {
    switch (column.kind) {
        case ValueKind::kInteger:
            return std::string(text);
        case ValueKind::kBoolean:
            return text == "t" ? "true" : "false";
        case ValueKind::kReal:
            // "NaN" and "Infinity" are no numbers in JSON.
            return text.find_first_of("aI") == std::string_view::npos
                       ? std::string(text)
                       : "{\"real\":" + quoted(text) + "}";
        case ValueKind::kDecimal:
            return quoted(text);
        case ValueKind::kBytes:
            return "{\"hex\":\"" + upper_hex(text) + "\"}";
        case ValueKind::kText:
            break;
    }
    return is_time(column) ? quoted(iso_time(column, text)) : quoted(text);
}

std::string key_value(const ContractColumn& column, std::string_view text) {
    switch (column.kind) {
        case ValueKind::kBoolean:
            return text == "t" ? "1" : "0";
        case ValueKind::kBytes:
            return upper_hex(text);
        case ValueKind::kText:
            return is_time(column) ? iso_time(column, text) : std::string(text);
        case ValueKind::kInteger:
        case ValueKind::kReal:
        case ValueKind::kDecimal:
            break;
    }
    return json_of(column, text);
}

bool is_text_in_key(const ContractColumn& column) {
    return column.kind == ValueKind::kText || column.kind == ValueKind::kBytes;
}

}  // namespace instep::wal
