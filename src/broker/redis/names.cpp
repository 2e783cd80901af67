#include "names.hpp"

#include <fmt/format.h>

#include <charconv>

namespace instep::redis {

namespace {

constexpr std::uint64_t kNumberMax = (1ULL << kNumberBits) - 1;
constexpr std::uint64_t kMillisecondsMax = (1ULL << (64 - kNumberBits)) - 1;

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

TopicKeys::TopicKeys(std::string_view prefix, std::string_view topic)
    : base_(fmt::format("{}:{{{}}}", prefix, topic)) {}

std::string TopicKeys::stream(std::uint32_t partition) const {
    return fmt::format("{}:{}", base_, partition);
}

std::string TopicKeys::publisher(std::uint32_t partition, std::string_view source) const {
    return fmt::format("{}:{}:publisher:{}", base_, partition, source);
}

std::string TopicKeys::members(std::string_view subscription) const {
    return fmt::format("{}:members:{}", base_, subscription);
}

std::string TopicKeys::holders(std::string_view subscription) const {
    return fmt::format("{}:holders:{}", base_, subscription);
}

std::string topics_key(std::string_view prefix) { return fmt::format("{}:topics", prefix); }

std::string subscriptions_key(std::string_view prefix) {
    return fmt::format("{}:subscriptions", prefix);
}

Result<void> check_topic_name(std::string_view topic) {
    for (const char c : topic) {
        if (c == '{' || c == '}' || static_cast<unsigned char>(c) < ' ') {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("topic \"{}\": on Redis a name holds no braces and no control "
                                    "characters",
                                    topic));
        }
    }
    return {};
}

std::string to_entry_id(Position position) {
    return fmt::format("{}-{}", position >> kNumberBits, position & kNumberMax);
}

std::optional<Position> parse_entry_id(std::string_view id) {
    const auto dash = id.find('-');
    if (dash == std::string_view::npos) {
        return std::nullopt;
    }
    const auto milliseconds = parse_number(id.substr(0, dash));
    const auto number = parse_number(id.substr(dash + 1));
    if (!milliseconds || !number || *milliseconds > kMillisecondsMax || *number > kNumberMax) {
        return std::nullopt;
    }
    return (*milliseconds << kNumberBits) | *number;
}

}  // namespace instep::redis
