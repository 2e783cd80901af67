#include "row_values.hpp"

#include "instep/base/bytes.hpp"
#include "instep/event/json_writer.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace instep {

namespace {

template <class... Visitors>
struct Overloaded : Visitors... {
    using Visitors::operator()...;
};

std::string upper_hex(std::string_view bytes) {
    std::string hex = to_hex(bytes);
    std::ranges::transform(hex, hex.begin(),
                           [](char c) { return c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c; });
    return hex;
}

void append_tagged(std::string& out, char tag, std::string_view bytes) {
    out.push_back(tag);
    append_big_endian(out, static_cast<std::uint64_t>(bytes.size()));
    out.append(bytes);
}

void append_integer(std::string& out, std::int64_t value) {
    out.push_back('i');
    append_big_endian(out, static_cast<std::uint64_t>(value));
}

void append_real(std::string& out, double value) {
    constexpr double kExactIntegers = 9007199254740992.0;
    if (std::trunc(value) == value && std::abs(value) <= kExactIntegers) {
        append_integer(out, static_cast<std::int64_t>(value));
        return;
    }
    if (std::isnan(value)) {
        // As it travels; see read_tagged().
        append_tagged(out, 't', "NaN");
        return;
    }
    out.push_back('r');
    append_big_endian(out, std::bit_cast<std::uint64_t>(value));
}

}  // namespace

std::string_view ValueArena::keep(std::string_view text) {
    if (text.empty()) {
        return {};
    }
    auto* copy = static_cast<char*>(memory_.allocate(text.size(), 1));
    std::memcpy(copy, text.data(), text.size());
    return {copy, text.size()};
}

ValueView ValueArena::keep_value(const ValueView& value) {
    if (const auto* text = std::get_if<std::string_view>(&value)) {
        return keep(*text);
    }
    if (const auto* blob = std::get_if<BlobView>(&value)) {
        return BlobView{keep(blob->bytes)};
    }
    return value;
}

void append_json_value(std::string& out, const ValueView& value) {
    std::visit(Overloaded{[&](std::monostate) { out += "null"; },
                          [&](std::int64_t number) { append_json_number(out, number); },
                          [&](double number) { append_json_number(out, number); },
                          [&](std::string_view text) { append_json_string(out, text); },
                          [&](BlobView blob) {
                              out += "{\"hex\":\"";
                              out += upper_hex(blob.bytes);
                              out += "\"}";
                          }},
               value);
}

std::string to_json_array(std::span<const ValueView> values) {
    std::string out = "[";
    for (const ValueView& value : values) {
        if (out.size() > 1) {
            out += ',';
        }
        append_json_value(out, value);
    }
    return out + ']';
}

std::string key_text(std::span<const ValueView> values) {
    if (values.size() != 1) {
        std::string out = "[";
        for (const ValueView& value : values) {
            out += out.size() > 1 ? "," : "";
            const auto* blob = std::get_if<BlobView>(&value);
            if (blob != nullptr) {
                append_json_string(out, upper_hex(blob->bytes));
            } else {
                append_json_value(out, value);
            }
        }
        return out + ']';
    }
    return std::visit(Overloaded{[](std::monostate) { return std::string(); },
                                 [](std::int64_t number) { return fmt::format("{}", number); },
                                 [](double number) { return fmt::format("{}", number); },
                                 [](std::string_view text) { return std::string(text); },
                                 [](BlobView blob) { return upper_hex(blob.bytes); }},
                      values.front());
}

void RowSetHash::add(std::span<const ValueView> values) {
    scratch_.clear();
    for (const ValueView& value : values) {
        std::visit(Overloaded{[&](std::monostate) { scratch_.push_back('n'); },
                              [&](std::int64_t number) { append_integer(scratch_, number); },
                              [&](double number) { append_real(scratch_, number); },
                              [&](std::string_view text) { append_tagged(scratch_, 't', text); },
                              [&](BlobView blob) { append_tagged(scratch_, 'b', blob.bytes); }},
                   value);
    }
    const XXH128_hash_t hash = XXH3_128bits(scratch_.data(), scratch_.size());
    low_ += hash.low64;
    high_ += hash.high64 + (low_ < hash.low64 ? 1U : 0U);
    ++rows_;
}

std::string RowSetHash::hex() const { return fmt::format("{:016x}{:016x}", high_, low_); }

}  // namespace instep
