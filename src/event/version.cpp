#include "instep/event/version.hpp"

#include "instep/base/bytes.hpp"

#include <fmt/format.h>

#include <charconv>

namespace instep {

namespace {

constexpr std::size_t kEpochDigits = 10;
constexpr std::size_t kBatchDigits = 20;
constexpr std::size_t kIndexDigits = 10;
constexpr std::size_t kBatchStart = kEpochDigits + 1;
constexpr std::size_t kIndexStart = kBatchStart + kBatchDigits + 1;

/// Over the last of the zeros that end at `end`.
void write_padded(char* end, std::uint64_t value) {
    do {
        *--end = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value != 0);
}

template <class Integer>
bool read_padded(std::string_view digits, Integer& value) {
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value);
    return error == std::errc{} && stop == end;
}

}  // namespace

std::string to_sequence(const Version& version) {
    std::string text(kIndexStart + kIndexDigits, '0');
    text[kBatchStart - 1] = '.';
    text[kIndexStart - 1] = '.';
    write_padded(text.data() + kEpochDigits, version.epoch);
    write_padded(text.data() + kBatchStart + kBatchDigits, version.batch);
    write_padded(text.data() + text.size(), version.index);
    return text;
}

Result<Version> parse_sequence(std::string_view text) {
    Version version;
    if (text.size() != kIndexStart + kIndexDigits || text[kBatchStart - 1] != '.' ||
        text[kIndexStart - 1] != '.' || !read_padded(text.substr(0, kEpochDigits), version.epoch) ||
        !read_padded(text.substr(kBatchStart, kBatchDigits), version.batch) ||
        !read_padded(text.substr(kIndexStart), version.index)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" is not a sequence; one looks like \"{}\"", text,
                                to_sequence(Version{1, 42, 0})));
    }
    return version;
}

std::string to_bytes(const Version& version) {
    std::string bytes;
    append_big_endian(bytes, version.epoch);
    append_big_endian(bytes, version.batch);
    append_big_endian(bytes, version.index);
    return bytes;
}

Result<Version> version_from_bytes(std::string_view bytes) {
    if (bytes.size() != 16) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("a stored version has {} bytes instead of 16", bytes.size()));
    }
    return Version{read_big_endian_32(bytes), read_big_endian_64(bytes.substr(4)),
                   read_big_endian_32(bytes.substr(12))};
}

}  // namespace instep
