// Names on the server, and positions as it writes them.
//
// All keys of a topic have its name in braces, which is what a cluster spreads keys by: they stay
// together, and one script may use several of them.
#pragma once

#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace instep::redis {

/// The keys of one topic.
class TopicKeys {
public:
    TopicKeys(std::string_view prefix, std::string_view topic);

    [[nodiscard]] const std::string& topic() const { return base_; }
    [[nodiscard]] std::string subscriptions() const { return base_ + ":subscriptions"; }
    [[nodiscard]] std::string changes() const { return base_ + ":changes"; }

    /// What the name of a stream is but for the partition's number.
    [[nodiscard]] std::string stream_prefix() const { return base_ + ':'; }
    [[nodiscard]] std::string stream(std::uint32_t partition) const;
    [[nodiscard]] std::string publisher(std::uint32_t partition, std::string_view source) const;

    [[nodiscard]] std::string members(std::string_view subscription) const;
    [[nodiscard]] std::string holders(std::string_view subscription) const;

private:
    std::string base_;
};

/// The set of all topics, and the hash of all subscriptions with their topics.
std::string topics_key(std::string_view prefix);
std::string subscriptions_key(std::string_view prefix);

/// Errors: kInvalidArgument.
Result<void> check_topic_name(std::string_view topic);

inline constexpr unsigned kNumberBits = 20;

/// The position as an entry id, such as "1767225600000-0".
std::string to_entry_id(Position position);

/// Nothing for an id that no server's clock has made.
std::optional<Position> parse_entry_id(std::string_view id);

}  // namespace instep::redis
