#include "instep/db/dialect.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace instep {

namespace {

constexpr std::array kKinds = {ValueKind::kInteger, ValueKind::kReal,  ValueKind::kDecimal,
                               ValueKind::kBoolean, ValueKind::kBytes, ValueKind::kText};

}  // namespace

std::string_view to_string(ValueKind kind) noexcept {
    switch (kind) {
        case ValueKind::kInteger:
            return "integer";
        case ValueKind::kReal:
            return "real";
        case ValueKind::kDecimal:
            return "decimal";
        case ValueKind::kBoolean:
            return "boolean";
        case ValueKind::kBytes:
            return "bytes";
        case ValueKind::kText:
            return "text";
    }
    return "unknown";
}

Result<ValueKind> parse_value_kind(std::string_view text) {
    const auto found =
        std::ranges::find(kKinds, text, [](ValueKind kind) { return to_string(kind); });
    if (found == kKinds.end()) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is no kind of value", text));
    }
    return *found;
}

const ColumnDescription* TableDescription::find(std::string_view column) const {
    const auto found = std::ranges::find(columns, column, &ColumnDescription::name);
    return found == columns.end() ? nullptr : &*found;
}

std::vector<std::string> TableDescription::key_columns() const {
    std::vector<const ColumnDescription*> parts;
    for (const ColumnDescription& column : columns) {
        if (column.key_position > 0) {
            parts.push_back(&column);
        }
    }
    std::ranges::sort(parts, {}, &ColumnDescription::key_position);
    std::vector<std::string> names;
    for (const ColumnDescription* part : parts) {
        names.push_back(part->name);
    }
    return names;
}

std::string Dialect::quote(std::string_view identifier) const {
    std::string quoted = "\"";
    for (const char c : identifier) {
        quoted.append(c == '"' ? 2 : 1, c);
    }
    quoted += '"';
    return quoted;
}

}  // namespace instep
