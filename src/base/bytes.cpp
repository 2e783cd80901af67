#include "instep/base/bytes.hpp"

#include <xxhash.h>

#include <array>

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

constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNoDigit = 0xFF;

constexpr auto kBase64Values = [] {
    std::array<std::uint8_t, 256> values{};
    values.fill(kNoDigit);
    for (std::size_t i = 0; i < kBase64Digits.size(); ++i) {
        values[static_cast<unsigned char>(kBase64Digits[i])] = static_cast<std::uint8_t>(i);
    }
    return values;
}();

/// How a multi-byte UTF-8 sequence must go on after its first byte. A length of 0 stands for
/// a byte that starts none.
struct Utf8Sequence {
    std::size_t length;
    unsigned char second_min;
    unsigned char second_max;
};

constexpr Utf8Sequence utf8_sequence(unsigned char first) noexcept {
    if (first >= 0xC2 && first <= 0xDF) {
        return {2, 0x80, 0xBF};
    }
    if (first >= 0xE0 && first <= 0xEF) {
        return {3, static_cast<unsigned char>(first == 0xE0 ? 0xA0 : 0x80),
                static_cast<unsigned char>(first == 0xED ? 0x9F : 0xBF)};
    }
    if (first >= 0xF0 && first <= 0xF4) {
        return {4, static_cast<unsigned char>(first == 0xF0 ? 0x90 : 0x80),
                static_cast<unsigned char>(first == 0xF4 ? 0x8F : 0xBF)};
    }
    return {0, 0, 0};
}

}  // namespace

std::string to_hex(std::string_view bytes) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text(bytes.size() * 2, '\0');
    std::size_t at = 0;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        text[at++] = kDigits[byte >> 4U];
        text[at++] = kDigits[byte & 0xFU];
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

std::string to_base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::string_view group = bytes.substr(i, 3);
        std::uint32_t bits = 0;
        for (std::size_t j = 0; j < 3; ++j) {
            const char byte = j < group.size() ? group[j] : '\0';
            bits = (bits << 8U) | static_cast<unsigned char>(byte);
        }
        for (std::size_t j = 0; j < 4; ++j) {
            const std::size_t digit = (bits >> (18U - 6U * j)) & 0x3FU;
            text.push_back(j <= group.size() ? kBase64Digits[digit] : '=');
        }
    }
    return text;
}

Result<std::string> from_base64(std::string_view text) {
    const auto unreadable = [] {
        return fail(ErrorCode::kInvalidArgument, "text is not padded base64");
    };
    if (text.size() % 4 != 0) {
        return unreadable();
    }
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
    const std::string_view digits = text.substr(0, text.size() - padding);
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3);
    std::uint32_t bits = 0;
    unsigned pending = 0;
    for (const char c : digits) {
        const std::uint8_t value = kBase64Values[static_cast<unsigned char>(c)];
        if (value == kNoDigit) {
            return unreadable();
        }
        bits = (bits << 6U) | value;
        pending += 6;
        if (pending >= 8) {
            pending -= 8;
            bytes.push_back(static_cast<char>((bits >> pending) & 0xFFU));
        }
    }
    // Bits behind the last byte must be zero, or two texts would stand for the same bytes.
    if ((bits & ((1U << pending) - 1U)) != 0) {
        return unreadable();
    }
    return bytes;
}

bool is_utf8(std::string_view bytes) noexcept {
    std::size_t i = 0;
    while (i < bytes.size()) {
        const auto first = static_cast<unsigned char>(bytes[i]);
        if (first < 0x80) {
            ++i;
            continue;
        }
        const Utf8Sequence sequence = utf8_sequence(first);
        if (sequence.length == 0 || bytes.size() - i < sequence.length) {
            return false;
        }
        const auto second = static_cast<unsigned char>(bytes[i + 1]);
        if (second < sequence.second_min || second > sequence.second_max) {
            return false;
        }
        for (std::size_t j = 2; j < sequence.length; ++j) {
            if ((static_cast<unsigned char>(bytes[i + j]) & 0xC0U) != 0x80U) {
                return false;
            }
        }
        i += sequence.length;
    }
    return true;
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
