#include "parameters.hpp"

#include "instep/base/bytes.hpp"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <optional>

namespace instep::postgres {

namespace {

std::unexpected<Error> zero_byte() {
    return fail(ErrorCode::kRejected, "PostgreSQL stores no text that holds a zero byte");
}

std::string shown(const ValueView& value) {
    if (const auto* text = std::get_if<std::string_view>(&value)) {
        return fmt::format("\"{}\"", text->substr(0, 40));
    }
    if (const auto* real = std::get_if<double>(&value)) {
        return fmt::format("{}", *real);
    }
    const auto* number = std::get_if<std::int64_t>(&value);
    return number == nullptr ? "bytes" : fmt::format("{}", *number);
}

std::unexpected<Error> does_not_fit(const ValueView& value, std::string_view type) {
    return fail(ErrorCode::kRejected, fmt::format("{} is no {}", shown(value), type));
}

template <class Number>
std::optional<Number> parse(std::string_view text) {
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

void append_length(std::string& out, std::size_t length) {
    append_big_endian(out, static_cast<std::uint32_t>(length));
}

Result<std::int64_t> to_integer(const ValueView& value) {
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
        return *number;
    }
    const auto* real = std::get_if<double>(&value);
    if (real != nullptr && std::trunc(*real) == *real && std::abs(*real) < 0x1p63) {
        return static_cast<std::int64_t>(*real);
    }
    const auto* text = std::get_if<std::string_view>(&value);
    if (const auto number = text == nullptr ? std::nullopt : parse<std::int64_t>(*text)) {
        return *number;
    }
    return does_not_fit(value, "integer");
}

Result<double> to_real(const ValueView& value) {
    if (const auto* real = std::get_if<double>(&value)) {
        return *real;
    }
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
        return static_cast<double>(*number);
    }
    const auto* text = std::get_if<std::string_view>(&value);
    if (const auto real = text == nullptr ? std::nullopt : parse<double>(*text)) {
        return *real;
    }
    return does_not_fit(value, "number");
}

Result<void> append_text(std::string& out, const ValueView& value) {
    std::string made;
    std::string_view text;
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
        text = made = fmt::format("{}", *number);
    } else if (const auto* real = std::get_if<double>(&value)) {
        text = made = fmt::format("{}", *real);
    } else if (const auto* bytes = std::get_if<BlobView>(&value)) {
        text = made = "\\x" + to_hex(bytes->bytes);
    } else {
        text = std::get<std::string_view>(value);
    }
    if (text.find('\0') != std::string_view::npos) {
        return zero_byte();
    }
    append_length(out, text.size());
    out += text;
    return {};
}

Result<void> append_bytes(std::string& out, const ValueView& value) {
    const auto* bytes = std::get_if<BlobView>(&value);
    if (bytes == nullptr) {
        return does_not_fit(value, "byte string");
    }
    append_length(out, bytes->bytes.size());
    out += bytes->bytes;
    return {};
}

Result<void> append_element(std::string& out, const ValueView& value, Oid element) {
    switch (element) {
        case kInt8: {
            INSTEP_TRY_ASSIGN(const std::int64_t number, to_integer(value));
            append_length(out, sizeof(number));
            append_big_endian(out, static_cast<std::uint64_t>(number));
            return {};
        }
        case kFloat8: {
            INSTEP_TRY_ASSIGN(const double real, to_real(value));
            append_length(out, sizeof(real));
            append_big_endian(out, std::bit_cast<std::uint64_t>(real));
            return {};
        }
        case kText:
            return append_text(out, value);
        default:
            return append_bytes(out, value);
    }
}

Oid element_of(Oid array) {
    switch (array) {
        case kInt8Array:
            return kInt8;
        case kFloat8Array:
            return kFloat8;
        case kTextArray:
            return kText;
        case kByteaArray:
            return kBytea;
        default:
            return InvalidOid;
    }
}

}  // namespace

void Parameters::place(std::size_t begin, int format) {
    begins_.push_back(begin);
    values_.push_back(nullptr);
    lengths_.push_back(static_cast<int>(buffer_.size() - begin));
    formats_.push_back(format);
}

Result<void> Parameters::add_text(std::string_view text) {
    if (text.find('\0') != std::string_view::npos) {
        return zero_byte();
    }
    const std::size_t begin = buffer_.size();
    buffer_ += text;
    buffer_ += '\0';
    place(begin, kTextFormat);
    return {};
}

Result<void> Parameters::add(const ValueView& value) {
    if (const auto* text = std::get_if<std::string_view>(&value)) {
        return add_text(*text);
    }
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
        return add_text(fmt::format_int(*number).c_str());
    }
    if (const auto* real = std::get_if<double>(&value)) {
        return add_text(fmt::format("{}", *real));
    }
    place(std::string::npos, kBinaryFormat);
    if (const auto* bytes = std::get_if<BlobView>(&value)) {
        values_.back() = bytes->bytes.empty() ? "" : bytes->bytes.data();
        lengths_.back() = static_cast<int>(bytes->bytes.size());
    }
    return {};
}

Result<void> Parameters::add_array(ParameterRows rows, std::size_t column, Oid type) {
    const Oid element = element_of(type);
    if (element == InvalidOid) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("parameter ${} is no array of bigint, double precision, text or "
                                "bytea",
                                column + 1));
    }
    const std::size_t begin = buffer_.size();
    const std::size_t count = rows.values.size() / rows.columns;
    append_length(buffer_, 1);
    append_length(buffer_, 1);
    append_length(buffer_, element);
    append_length(buffer_, count);
    append_length(buffer_, 1);
    for (std::size_t at = column; at < rows.values.size(); at += rows.columns) {
        if (std::holds_alternative<std::monostate>(rows.values[at])) {
            append_big_endian(buffer_, std::uint32_t{0xffffffff});
        } else {
            INSTEP_TRY(append_element(buffer_, rows.values[at], element));
        }
    }
    place(begin, kBinaryFormat);
    return {};
}

void Parameters::finish() {
    for (std::size_t i = 0; i < begins_.size(); ++i) {
        if (begins_[i] != std::string::npos) {
            values_[i] = buffer_.data() + begins_[i];
        }
    }
}

void Parameters::clear() {
    buffer_.clear();
    begins_.clear();
    values_.clear();
    lengths_.clear();
    formats_.clear();
}

}  // namespace instep::postgres
