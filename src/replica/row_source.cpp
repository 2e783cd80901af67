#include "row_source.hpp"

#include "row_values.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unordered_set>

namespace instep {

namespace {

std::string_view array_of(ValueKind kind) {
    switch (kind) {
        case ValueKind::kInteger:
            return "bigint";
        case ValueKind::kReal:
            return "double precision";
        case ValueKind::kBytes:
            return "bytea";
        case ValueKind::kDecimal:
        case ValueKind::kBoolean:
        case ValueKind::kText:
            break;
    }
    return "text";
}

/// An explicit cast to a text of limited length would cut it off; an assignment refuses it.
std::string cast_to(std::string_view type, std::string_view array) {
    const bool is_limited = type.starts_with("character") && !type.ends_with("[]");
    if (type == array || (is_limited && type.starts_with("character varying"))) {
        return "";
    }
    // Blanks at the end count where a character(n) is compared with a text, and nowhere else.
    return is_limited ? "::bpchar" : fmt::format("::{}", type);
}

}  // namespace

std::size_t RowSource::add(ValueKind kind, std::string_view type) {
    const std::string_view array = array_of(kind);
    arrays_.emplace_back(array);
    casts_.push_back(cast_to(type, array));
    return arrays_.size() - 1;
}

std::string RowSource::value(std::size_t place) const {
    return in_arrays_ ? fmt::format("u.p{}{}", place + 1, casts_[place])
                      : fmt::format("${}", place + 1);
}

std::string RowSource::arrays() const {
    std::string parameters;
    std::string names;
    for (std::size_t i = 0; i < arrays_.size(); ++i) {
        parameters += fmt::format("{}${}::{}[]", i == 0 ? "" : ", ", i + 1, arrays_[i]);
        names += fmt::format("{}p{}", i == 0 ? "" : ", ", i + 1);
    }
    return fmt::format("unnest({}) AS u ({})", parameters, names);
}

std::string RowSource::from_where() const {
    return in_arrays_ ? fmt::format("FROM {} WHERE", arrays()) : "WHERE";
}

std::string RowSource::using_where() const {
    return in_arrays_ ? fmt::format("USING {} WHERE", arrays()) : "WHERE";
}

std::string RowSource::rows_of(const std::vector<std::string>& values) const {
    return in_arrays_ ? fmt::format("SELECT {} FROM {}", fmt::join(values, ", "), arrays())
                      : fmt::format("VALUES ({})", fmt::join(values, ", "));
}

std::string RowSource::returning(std::string_view key) const {
    return in_arrays_ ? fmt::format(" RETURNING {}", key) : "";
}

Result<std::vector<std::int64_t>> write_rows(
    Transaction& transaction, const std::string& sql, ParameterRows rows,
    const std::function<std::string(std::span<const ValueView> row)>& key_of) {
    if (!transaction.dialect().binds_arrays()) {
        return transaction.execute_many(sql, rows);
    }
    const std::size_t count = rows.values.size() / rows.columns;
    std::vector<std::int64_t> written(count, 1);
    if (count == 0) {
        return written;
    }
    INSTEP_TRY_ASSIGN(const auto changed, transaction.query_bulk(sql, rows));
    std::unordered_set<std::string> keys;
    Row key(changed->column_count());
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, changed->next());
        if (!more) {
            break;
        }
        for (std::size_t i = 0; i < key.size(); ++i) {
            key[i] = changed->at(i);
        }
        keys.insert(key_text(key));
    }
    if (keys.size() == count) {
        return written;
    }
    for (std::size_t i = 0; i < count; ++i) {
        written[i] =
            keys.contains(key_of(rows.values.subspan(i * rows.columns, rows.columns))) ? 1 : 0;
    }
    return written;
}

}  // namespace instep
