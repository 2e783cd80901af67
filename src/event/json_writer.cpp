#include "instep/event/json_writer.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace instep {

namespace {

/// Room for any shortest double ("-2.2250738585072014e-308") and any 64-bit integer.
constexpr std::size_t kNumberBytesMax = 32;

/// The letter behind the backslash; 'u' for \u00XX; 0 for bytes that pass as they are.
constexpr auto kEscapes = [] {
    std::array<char, 256> escapes{};
    for (std::size_t byte = 0; byte < 0x20; ++byte) {
        escapes[byte] = 'u';
    }
    escapes['\b'] = 'b';
    escapes['\t'] = 't';
    escapes['\n'] = 'n';
    escapes['\f'] = 'f';
    escapes['\r'] = 'r';
    escapes['"'] = '"';
    escapes['\\'] = '\\';
    return escapes;
}();

template <class Number>
void append_shortest(std::string& out, Number value) {
    std::array<char, kNumberBytesMax> digits;
    const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
    out.append(digits.data(), end);
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
    static constexpr std::string_view kHexDigits = "0123456789abcdef";
    out.push_back('"');
    std::size_t written = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const char escape = kEscapes[byte];
        if (escape == 0) {
            continue;
        }
        out.append(text, written, i - written);
        out.push_back('\\');
        out.push_back(escape);
        if (escape == 'u') {
            out.append("00");
            out.push_back(kHexDigits[byte >> 4U]);
            out.push_back(kHexDigits[byte & 0xFU]);
        }
        written = i + 1;
    }
    out.append(text, written);
    out.push_back('"');
}

void append_json_number(std::string& out, double value) {
    if (std::isnan(value)) {
        out.append(R"({"real":"NaN"})");
    } else if (std::isinf(value)) {
        out.append(value > 0 ? R"({"real":"Infinity"})" : R"({"real":"-Infinity"})");
    } else {
        const std::size_t start = out.size();
        append_shortest(out, value);
        if (out.find_first_of(".e", start) == std::string::npos) {
            out.append(".0");
        }
    }
}

void append_json_number(std::string& out, std::int64_t value) { append_shortest(out, value); }

}  // namespace instep
