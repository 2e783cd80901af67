#include "instep/db/postgres/replication/lsn.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace instep {

namespace {

constexpr std::size_t kHalfDigitsMax = 8;

std::optional<std::uint64_t> half(std::string_view text) {
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, 16);
    if (text.size() > kHalfDigitsMax || error != std::errc{} || stop != end) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

std::string format_lsn(Lsn lsn) {
    return fmt::format("{:X}/{:X}", lsn.value >> 32U, lsn.value & 0xffff'ffffU);
}

Result<Lsn> parse_lsn(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash != std::string_view::npos) {
        const auto high = half(text.substr(0, slash));
        const auto low = half(text.substr(slash + 1));
        if (high && low) {
            return Lsn{(*high << 32U) | *low};
        }
    }
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("\"{}\" is no log position; write one like 0/16B3748", text));
}

}  // namespace instep
