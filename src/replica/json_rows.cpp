#include "json_rows.hpp"

#include "instep/base/bytes.hpp"
#include "instep/event/json_writer.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <limits>

namespace instep {

namespace {

namespace od = simdjson::ondemand;

std::unexpected<Error> corrupt(simdjson::error_code code) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("the event's data cannot be read: {}", simdjson::error_message(code)));
}

#define INSTEP_JSON(...)                                       \
    do {                                                       \
        if (const simdjson::error_code code = (__VA_ARGS__)) { \
            return corrupt(code);                              \
        }                                                      \
    } while (false)

Result<ValueView> read_tagged(od::object object, ValueArena& arena) {
    std::string_view text;
    if (object["hex"].get_string().get(text) == simdjson::SUCCESS) {
        INSTEP_TRY_ASSIGN(const std::string bytes, from_hex(text));
        return BlobView{arena.keep(bytes)};
    }
    INSTEP_JSON(object.reset().error());
    INSTEP_JSON(object["real"].get_string().get(text));
    if (text == "NaN") {
        // As text, which every database can keep in a column of reals: SQLite has no NaN.
        return arena.keep(text);
    }
    const double infinity = std::numeric_limits<double>::infinity();
    return text == "Infinity" ? infinity : -infinity;
}

/// Not by get_number(), which gives 0 for a real of more than 19 digits in simdjson 3.0.
Result<ValueView> read_number(od::value value) {
    bool is_integer = false;
    INSTEP_JSON(value.is_integer().get(is_integer));
    std::int64_t integer = 0;
    // PostgreSQL writes the negative zero, which no integer is, without a point.
    const bool is_negative_zero = value.raw_json_token().starts_with("-0");
    if (is_integer && !is_negative_zero && value.get_int64().get(integer) == simdjson::SUCCESS) {
        return integer;
    }
    double real = 0;
    INSTEP_JSON(value.get_double().get(real));
    return real;
}

Result<ValueView> read_value(od::value value, ValueArena& arena) {
    od::json_type type{};
    INSTEP_JSON(value.type().get(type));
    switch (type) {
        case od::json_type::null:
            return ValueView{kNull};
        case od::json_type::boolean: {
            bool flag = false;
            INSTEP_JSON(value.get_bool().get(flag));
            return std::int64_t{flag ? 1 : 0};
        }
        case od::json_type::number:
            return read_number(value);
        case od::json_type::string: {
            std::string_view text;
            INSTEP_JSON(value.get_string().get(text));
            return arena.keep(text);
        }
        case od::json_type::object: {
            od::object object;
            INSTEP_JSON(value.get_object().get(object));
            return read_tagged(object, arena);
        }
        case od::json_type::array:
            break;
    }
    return fail(ErrorCode::kCorrupt, "the event's data holds a list where a plain value belongs");
}

Result<void> read_values(od::array array, ValueArena& arena, Row& row) {
    row.clear();
    for (auto element : array) {
        od::value value;
        INSTEP_JSON(element.get(value));
        INSTEP_TRY_ASSIGN(row.emplace_back(), read_value(value, arena));
    }
    return {};
}

Result<std::string> read_raw(od::value value) {
    od::json_type type{};
    INSTEP_JSON(value.type().get(type));
    if (type == od::json_type::null) {
        return std::string();
    }
    od::array array;
    INSTEP_JSON(value.get_array().get(array));
    std::string_view text;
    INSTEP_JSON(array.raw_json().get(text));
    return std::string(text);
}

Result<std::string> read_text(od::value value) {
    std::string_view text;
    INSTEP_JSON(value.get_string().get(text));
    return std::string(text);
}

Result<std::uint64_t> read_count(od::value value) {
    std::uint64_t count = 0;
    INSTEP_JSON(value.get_uint64().get(count));
    return count;
}

Result<void> read_header_field(std::string_view name, od::value value, ChunkHeader& header) {
    if (name == "scan") {
        INSTEP_TRY_ASSIGN(header.scan, read_text(value));
    } else if (name == "partition") {
        INSTEP_TRY_ASSIGN(const std::uint64_t partition, read_count(value));
        header.partition = static_cast<std::uint32_t>(partition);
    } else if (name == "partitions") {
        INSTEP_TRY_ASSIGN(const std::uint64_t partitions, read_count(value));
        header.partitions = static_cast<std::uint32_t>(partitions);
    } else if (name == "number") {
        INSTEP_TRY_ASSIGN(header.number, read_count(value));
    } else if (name == "after") {
        INSTEP_TRY_ASSIGN(header.after, read_raw(value));
    } else if (name == "to") {
        INSTEP_TRY_ASSIGN(header.to, read_raw(value));
    } else if (name == "last") {
        INSTEP_JSON(value.get_bool().get(header.last));
    } else if (name == "refused") {
        INSTEP_TRY_ASSIGN(header.refused, read_text(value));
    } else if (name == "contract") {
        INSTEP_TRY_ASSIGN(header.contract, read_text(value));
    } else if (name == "columns") {
        od::array names;
        INSTEP_JSON(value.get_array().get(names));
        for (auto element : names) {
            od::value column;
            INSTEP_JSON(element.get(column));
            INSTEP_TRY_ASSIGN(header.columns.emplace_back(), read_text(column));
        }
    }
    return {};
}

Result<void> read_range(od::value value, Digest& digest) {
    od::object object;
    INSTEP_JSON(value.get_object().get(object));
    DigestRange range;
    for (auto field : object) {
        std::string_view name;
        INSTEP_JSON(field.unescaped_key().get(name));
        const bool is_to = name == "to";
        const bool is_rows = name == "rows";
        od::value member;
        INSTEP_JSON(field.value().get(member));
        if (is_to) {
            INSTEP_TRY_ASSIGN(range.to, read_raw(member));
        } else if (is_rows) {
            INSTEP_TRY_ASSIGN(range.rows, read_count(member));
        } else {
            INSTEP_TRY_ASSIGN(range.hash, read_text(member));
        }
    }
    digest.ranges.push_back(std::move(range));
    return {};
}

}  // namespace

class JsonRows::Impl {
public:
    /// The parser may read some bytes past the end, so the text is copied to where it can.
    Result<void> open(std::string_view json) {
        buffer_.resize(json.size() + simdjson::SIMDJSON_PADDING);
        json.copy(buffer_.data(), json.size());
        INSTEP_JSON(
            parser_
                .iterate(simdjson::padded_string_view(buffer_.data(), json.size(), buffer_.size()))
                .get(document_));
        return {};
    }

    [[nodiscard]] od::document& document() { return document_; }

private:
    std::string buffer_;
    od::parser parser_;
    od::document document_;
};

JsonRows::JsonRows() : impl_(std::make_unique<Impl>()) {}
JsonRows::~JsonRows() = default;

Result<void> JsonRows::read_object(std::string_view json, std::span<const std::string> columns,
                                   ValueArena& arena, Row& row, std::vector<bool>& present) {
    INSTEP_TRY(impl_->open(json));
    od::object object;
    INSTEP_JSON(impl_->document().get_object().get(object));
    row.assign(columns.size(), kNull);
    present.assign(columns.size(), false);
    std::string name;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        od::value value;
        // Names are compared with what stands in the JSON, escapes and all.
        name.clear();
        append_json_string(name, columns[i]);
        const simdjson::error_code found =
            object.find_field_unordered(std::string_view(name).substr(1, name.size() - 2))
                .get(value);
        if (found == simdjson::NO_SUCH_FIELD) {
            continue;
        }
        INSTEP_JSON(found);
        INSTEP_TRY_ASSIGN(row[i], read_value(value, arena));
        present[i] = true;
    }
    return {};
}

Result<Row> JsonRows::read_array(std::string_view json, ValueArena& arena) {
    INSTEP_TRY(impl_->open(json));
    od::array array;
    INSTEP_JSON(impl_->document().get_array().get(array));
    Row row;
    INSTEP_TRY(read_values(array, arena, row));
    return row;
}

Result<Row> JsonRows::read_bounds(std::string_view after, std::string_view to, ValueArena& arena) {
    Row bounds;
    for (const std::string_view bound : {after, to}) {
        if (!bound.empty()) {
            INSTEP_TRY_ASSIGN(const Row key, read_array(bound, arena));
            bounds.insert(bounds.end(), key.begin(), key.end());
        }
    }
    return bounds;
}

Result<void> JsonRows::read_chunk(std::string_view json, ValueArena& arena,
                                  const std::function<Result<void>(const ChunkHeader&)>& header,
                                  const std::function<Result<void>(const Row&)>& row) {
    INSTEP_TRY(impl_->open(json));
    od::object object;
    INSTEP_JSON(impl_->document().get_object().get(object));
    ChunkHeader head;
    Row values;
    for (auto field : object) {
        std::string_view name;
        INSTEP_JSON(field.unescaped_key().get(name));
        const bool rows_begin = name == "rows";
        const std::string field_name(name);
        od::value value;
        INSTEP_JSON(field.value().get(value));
        if (!rows_begin) {
            INSTEP_TRY(read_header_field(field_name, value, head));
            continue;
        }
        INSTEP_TRY(header(head));
        od::array rows;
        INSTEP_JSON(value.get_array().get(rows));
        for (auto element : rows) {
            od::array next;
            INSTEP_JSON(element.get_array().get(next));
            INSTEP_TRY(read_values(next, arena, values));
            INSTEP_TRY(row(values));
        }
        return {};
    }
    return fail(ErrorCode::kCorrupt, "a chunk has no rows field");
}

Result<Digest> JsonRows::read_digest(std::string_view json) {
    INSTEP_TRY(impl_->open(json));
    od::object object;
    INSTEP_JSON(impl_->document().get_object().get(object));
    Digest digest;
    for (auto field : object) {
        std::string_view name;
        INSTEP_JSON(field.unescaped_key().get(name));
        const std::string field_name(name);
        od::value value;
        INSTEP_JSON(field.value().get(value));
        if (field_name != "ranges" && field_name != "keys") {
            INSTEP_TRY(read_header_field(field_name, value, digest.header));
            continue;
        }
        digest.by_key = field_name == "keys";
        od::array ranges;
        INSTEP_JSON(value.get_array().get(ranges));
        for (auto element : ranges) {
            od::value range;
            INSTEP_JSON(element.get(range));
            INSTEP_TRY(read_range(range, digest));
        }
    }
    return digest;
}

}  // namespace instep
