#include "cursor.hpp"

#include "instep/base/bytes.hpp"
#include "oids.hpp"

#include <bit>
#include <charconv>
#include <limits>

namespace instep::postgres {

namespace {

std::int64_t parse_integer(std::string_view text) {
    std::int64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

double parse_real(std::string_view text) {
    double number = std::numeric_limits<double>::quiet_NaN();
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

}  // namespace

PostgresCursor::PostgresCursor(ServerResult result,
                               std::shared_ptr<const std::uint64_t> transactions_ended)
    : result_(std::move(result)),
      transactions_ended_(std::move(transactions_ended)),
      opened_at_(*transactions_ended_) {}

Result<bool> PostgresCursor::next() {
    if (*transactions_ended_ != opened_at_) {
        return fail(ErrorCode::kClosed, "a cursor was read after its transaction");
    }
    decoded_.clear();
    if (row_ < PQntuples(result_.get())) {
        ++row_;
    }
    return row_ < PQntuples(result_.get());
}

ValueView PostgresCursor::at(std::size_t column) const {
    const int index = static_cast<int>(column);
    if (row_ < 0 || row_ >= PQntuples(result_.get()) || index >= PQnfields(result_.get()) ||
        PQgetisnull(result_.get(), row_, index) != 0) {
        return kNull;
    }
    const std::string_view value(PQgetvalue(result_.get(), row_, index),
                                 static_cast<std::size_t>(PQgetlength(result_.get(), row_, index)));
    const Oid type = PQftype(result_.get(), index);
    return PQfformat(result_.get(), index) == kBinaryFormat ? binary(value, type)
                                                            : text(value, type);
}

std::size_t PostgresCursor::column_count() const {
    return static_cast<std::size_t>(PQnfields(result_.get()));
}

ValueView PostgresCursor::binary(std::string_view value, Oid type) const {
    switch (type) {
        case kBool:
            return std::int64_t{value.front()};
        case kInt2:
            return std::int64_t{
                static_cast<std::int16_t>((static_cast<unsigned char>(value[0]) << 8U) |
                                          static_cast<unsigned char>(value[1]))};
        case kInt4:
            return std::int64_t{static_cast<std::int32_t>(read_big_endian_32(value))};
        case kOid:
            return std::int64_t{read_big_endian_32(value)};
        case kInt8:
            return static_cast<std::int64_t>(read_big_endian_64(value));
        case kFloat8:
            return std::bit_cast<double>(read_big_endian_64(value));
        case kBytea:
            return BlobView{value};
        default:
            return value;
    }
}

ValueView PostgresCursor::text(std::string_view value, Oid type) const {
    switch (type) {
        case kBool:
            return std::int64_t{value == "t" ? 1 : 0};
        case kInt2:
        case kInt4:
        case kInt8:
        case kOid:
            return parse_integer(value);
        case kFloat4:
        case kFloat8:
            return parse_real(value);
        case kBytea: {
            auto bytes = from_hex(value.substr(2));
            return BlobView{decoded_.emplace_back(std::move(bytes).value_or(""))};
        }
        default:
            return value;
    }
}

}  // namespace instep::postgres
