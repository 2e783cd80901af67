// Which service a topic belongs to, and what the cursors of its subscriptions are called.
#pragma once

#include "instep/direct/broker.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace instep::direct {

/// The part of the topic's name before the first dot.
std::string_view service_of(std::string_view topic);

/// Errors: kNotFound, naming what to do.
Result<const DirectOwner*> owner_of(std::span<const DirectOwner> owners, std::string_view topic);

/// A subscription, as the name of its cursor has it.
struct SubscriptionName {
    std::string topic;
    std::string subscription;
};

/// Errors: kInvalidArgument if the topic's name cannot stand in it.
Result<std::string> reader_name(const SubscriptionName& name);

/// Nothing for a cursor of another purpose.
std::optional<SubscriptionName> parse_reader_name(std::string_view reader);

}  // namespace instep::direct
