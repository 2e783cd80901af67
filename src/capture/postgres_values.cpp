#include "postgres_values.hpp"

#include "instep/event/json_writer.hpp"
#include "triggers.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

/// What a function call takes at most is 100 arguments.
constexpr std::size_t kColumnsInCall = 30;

std::string as_text(std::string_view value) {
    return fmt::format("CAST({} AS pg_catalog.text)", value);
}

std::string as_json(std::string_view value) {
    return as_text(fmt::format("pg_catalog.to_json({})", value));
}

bool is_one_of(const ContractColumn& column, std::initializer_list<std::string_view> types) {
    return !column.declared_type.ends_with("[]") &&
           std::ranges::any_of(types, [&](std::string_view type) {
               return column.declared_type.starts_with(type);
           });
}

/// Texts of these types depend on no setting.
bool is_plain_text(const ContractColumn& column) {
    return is_one_of(column, {"text", "character", "uuid", "inet", "cidr"});
}

/// A cast of these takes away blanks or adds a mask, which the output does not.
bool is_other_by_cast(const ContractColumn& column) {
    return is_one_of(column, {"character", "inet", "cidr"});
}

bool is_timestamp(const ContractColumn& column) { return is_one_of(column, {"timestamp"}); }

/// JSON writes a time with zone in the session's; here it is always UTC. Infinity has no zone.
std::string time_with_zone(const std::string& value) {
    return fmt::format(
        "CASE WHEN pg_catalog.isfinite({0}) THEN pg_catalog.replace(pg_catalog.concat('\"', "
        "pg_catalog.btrim({1}, '\"'), '+00:00\"'), ' BC+00:00\"', '+00:00 BC\"') ELSE {2} END",
        value, as_json(fmt::format("pg_catalog.timezone('UTC', {})", value)), as_json(value));
}

/// JSON has no number for infinities and NaN, which to_json() makes strings of.
std::string real(const std::string& json) {
    return fmt::format(
        "CASE WHEN pg_catalog.starts_with({0}, '\"') THEN "
        "pg_catalog.concat('{{\"real\":', {0}, '}}') ELSE {0} END",
        json);
}

/// The JSON of a value; NULL of NULL.
std::string json_of(const ContractColumn& column, const std::string& value) {
    switch (column.kind) {
        case ValueKind::kInteger:
            // No integer is NaN.
            return as_text(
                column.declared_type.starts_with("numeric")
                    ? fmt::format("CASE WHEN pg_catalog.numeric_eq({0}, 'NaN') THEN NULL "
                                  "ELSE CAST({0} AS pg_catalog.int8) END",
                                  value)
                    : value);
        case ValueKind::kBoolean:
            return as_json(value);
        case ValueKind::kReal:
            return real(as_json(value));
        case ValueKind::kDecimal:
            return as_json(as_text(value));
        case ValueKind::kBytes:
            return fmt::format(
                "CASE WHEN {0} IS NULL THEN NULL ELSE pg_catalog.concat('{{\"hex\":\"', "
                "pg_catalog.upper(pg_catalog.encode({0}, 'hex')), '\"}}') END",
                value);
        case ValueKind::kText:
            break;
    }
    if (is_timestamp(column)) {
        return column.declared_type.ends_with("with time zone") ? time_with_zone(value)
                                                                : as_json(value);
    }
    return as_json(is_other_by_cast(column) ? value : as_text(value));
}

/// The text of a key's value, as key_text() makes it of what a scan reads.
std::string key_value(const ContractColumn& column, const std::string& value) {
    switch (column.kind) {
        case ValueKind::kBoolean:
            return as_text(fmt::format("CAST({} AS pg_catalog.int4)", value));
        case ValueKind::kBytes:
            return fmt::format("pg_catalog.upper(pg_catalog.encode({}, 'hex'))", value);
        case ValueKind::kText:
            if (is_timestamp(column)) {
                return fmt::format("pg_catalog.btrim({}, '\"')", json_of(column, value));
            }
            return is_other_by_cast(column) ? fmt::format("pg_catalog.concat({})", value)
                                            : as_text(value);
        case ValueKind::kInteger:
        case ValueKind::kReal:
        case ValueKind::kDecimal:
            break;
    }
    return json_of(column, value);
}

bool is_text_in_key(const ContractColumn& column) {
    return column.kind == ValueKind::kText || column.kind == ValueKind::kBytes;
}

/// An SQL expression of the JSON object of the columns.
std::string json_object(const Columns& columns, const Dialect& dialect, std::string_view row) {
    std::string groups;
    std::string members;
    std::size_t count = 0;
    const auto close = [&] {
        groups += fmt::format("{}pg_catalog.concat({})", groups.empty() ? "" : ", ", members);
        members.clear();
    };
    for (const ContractColumn* column : columns) {
        std::string name = count == 0 ? "{" : ",";
        append_json_string(name, column->name);
        name += ':';
        members += fmt::format("{}{}, COALESCE({}, 'null')", members.empty() ? "" : ",\n      ",
                               text_literal(name),
                               json_of(*column, column_of(dialect, row, column->name)));
        if (++count % kColumnsInCall == 0) {
            close();
        }
    }
    if (!members.empty()) {
        close();
    }
    return fmt::format("pg_catalog.concat({}, '}}')", groups);
}

std::string image(const Columns& columns, const Dialect& dialect, std::string_view row) {
    std::string list;
    for (const ContractColumn* column : columns) {
        list += (list.empty() ? "" : ", ") + column_of(dialect, row, column->name);
    }
    return fmt::format("ROW({})", list);
}

}  // namespace

Columns all_columns(const Contract& contract) {
    Columns columns;
    for (const ContractColumn& column : contract.columns) {
        columns.push_back(&column);
    }
    return columns;
}

Columns key_columns(const Contract& contract) {
    Columns columns;
    for (const std::string& name : contract.key) {
        columns.push_back(contract.find(name));
    }
    return columns;
}

std::string capture_values(const Contract& contract, const Dialect& dialect, std::string_view row,
                           std::string_view action, Operation operation) {
    const std::string data = operation == Operation::kDelete
                                 ? json_object(key_columns(contract), dialect, row)
                                 : json_object(all_columns(contract), dialect, row);
    return fmt::format(
        "{}, {}, {}, {}, {},\n"
        "    pg_catalog.current_setting('instep.correlation_id', true),\n"
        "    pg_catalog.current_setting('instep.causation_id', true),\n"
        "    pg_catalog.current_setting('instep.trace_parent', true),\n    {}",
        text_literal(contract.topic()), postgres_key(contract, dialect, row),
        text_literal(fmt::format("{}.{}", contract.entity, action)), static_cast<int>(operation),
        text_literal(contract.schema()), data);
}

std::string capture_settings(const Contract& contract) {
    const bool depends = std::ranges::any_of(contract.columns, [](const ContractColumn& column) {
        return column.kind == ValueKind::kReal ||
               (column.kind == ValueKind::kText && !is_plain_text(column) && !is_timestamp(column));
    });
    return depends ? " SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' "
                     "SET IntervalStyle = 'postgres' SET extra_float_digits = 1 "
                     "SET bytea_output = 'hex' SET lc_monetary = 'C'"
                   : "";
}

std::string differs(const Columns& columns, const Dialect& dialect, std::string_view row,
                    std::string_view other) {
    return fmt::format("pg_catalog.record_image_ne({}, {})", image(columns, dialect, row),
                       image(columns, dialect, other));
}

std::string postgres_key(const Contract& contract, const Dialect& dialect, std::string_view row) {
    const Columns columns = key_columns(contract);
    if (columns.size() == 1) {
        return key_value(*columns.front(), column_of(dialect, row, columns.front()->name));
    }
    std::string members;
    for (const ContractColumn* column : columns) {
        const std::string text = key_value(*column, column_of(dialect, row, column->name));
        members += fmt::format("{}{}", members.empty() ? "'[', " : ", ',', ",
                               is_text_in_key(*column) ? as_json(text) : text);
    }
    return fmt::format("pg_catalog.concat({}, ']')", members);
}

}  // namespace instep
