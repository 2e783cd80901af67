#include "instep/base/bytes.hpp"

#include <xxhash.h>


namespace instep {

namespace {

template <class Integer>
void append_integer(std::string& out, Integer value) {
    for (unsigned shift = sizeof(Integer) * 8; shift > 0; shift -= 8) {
        out.push_back(static_cast<char>((value >> (shift - 8U)) & 0xFFU));
    }
}

template <class Integer>
Integer read_integer(std::string_view bytes) noexcept {
    Integer value = 0;
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
        value = static_cast<Integer>(value << 8U) | static_cast<unsigned char>(bytes[i]);
    }
    return value;
}

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

std::string to_hex(std::string_view bytes) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        text.push_back(kDigits[byte >> 4U]);
        text.push_back(kDigits[byte & 0xFU]);
    }
    return text;
}

Result<std::string> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) {
        return fail(ErrorCode::kInvalidArgument, "hexadecimal text has an odd number of digits");
    }
    std::string bytes;
    bytes.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_digit(text[i]);
        const int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) {
            return fail(ErrorCode::kInvalidArgument,
                        "hexadecimal text holds a character that is no digit");
        }
        bytes.push_back(static_cast<char>(high * 16 + low));
    }
    return bytes;
}

void append_big_endian(std::string& out, std::uint64_t value) { append_integer(out, value); }
void append_big_endian(std::string& out, std::uint32_t value) { append_integer(out, value); }

std::uint64_t read_big_endian_64(std::string_view bytes) noexcept {
    return read_integer<std::uint64_t>(bytes);
}
std::uint32_t read_big_endian_32(std::string_view bytes) noexcept {
    return read_integer<std::uint32_t>(bytes);
}

std::uint64_t key_hash(std::string_view key) noexcept {
    return XXH3_64bits(key.data(), key.size());
}

}  // namespace instep
