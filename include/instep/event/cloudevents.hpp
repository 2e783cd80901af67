// CloudEvents 1.0: the JSON format (structured and batch) and the attribute list that the
// binary mode of every broker is made from.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "instep/base/error.hpp"
#include "instep/event/event.hpp"

namespace instep {

using Attribute = std::pair<std::string, std::string>;

/// All attributes of the event in CloudEvents names and text forms, `specversion` first,
/// empty ones left out, without the data.
std::vector<Attribute> to_attributes(const Event& event);

/// The reverse of to_attributes(). Unknown names become extensions. `subject` serves as the
/// key when `partitionkey` is missing.
///
/// Errors: kSchemaMismatch for another specversion; kInvalidArgument for a missing required
/// attribute or an unreadable value.
Result<Event> from_attributes(std::span<const Attribute> attributes, std::string data);

/// `application/cloudevents+json`. JSON data is embedded as it is, other data as
/// `data_base64`.
std::string to_json(const Event& event);

/// `application/cloudevents-batch+json`.
std::string to_json_batch(std::span<const Event> events);

/// Reads the structured form. Data that is JSON keeps its bytes.
///
/// Errors: kInvalidArgument, with the place, for what is not JSON or not a CloudEvent;
/// kSchemaMismatch for another specversion; kLimitExceeded.
Result<Event> from_json(std::string_view text);

/// Reads the batch form; all or nothing. Errors as from_json().
Result<std::vector<Event>> from_json_batch(std::string_view text);

}  // namespace instep
