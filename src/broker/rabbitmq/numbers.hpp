// Numbers in a row, as members and publishers write them to each other.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace instep::rabbitmq {

/// "3 1 4"; what stands behind the last is of a later version. Nothing for a
/// text with fewer.
template <std::size_t Count>
std::optional<std::array<std::uint64_t, Count>> parse_numbers(std::string_view text) {
    std::array<std::uint64_t, Count> numbers{};
    for (std::uint64_t& number : numbers) {
        const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
        if (read.ec != std::errc{}) {
            return std::nullopt;
        }
        text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
        text.remove_prefix(text.starts_with(' ') ? 1 : 0);
    }
    return numbers;
}

}  // namespace instep::rabbitmq
