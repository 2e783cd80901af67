#include "instep/db/dialect.hpp"

#include <algorithm>

namespace instep {

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
