// CloudEvents 1.0: the JSON format (structured and batch) and the attribute list that the
// binary mode of every broker is made from.
#pragma once

#include "instep/base/error.hpp"
#include "instep/event/event.hpp"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace instep {

using Attribute = std::pair<std::string, std::string>;
using AttributeView = std::pair<std::string_view, std::string_view>;

/// All attributes of the event in CloudEvents names and text forms, `specversion` first,
/// empty ones left out, without the data.
std::vector<Attribute> to_attributes(const Event& event);

/// The same without copies, for one event after another: views into the event and into room
/// that is used again.
class AttributeViews {
public:
    /// Valid until the next call.
    std::span<const AttributeView> of(const Event& event);

private:
    std::vector<AttributeView> views_;

    /// Texts of what the event holds as numbers.
    std::string written_;
};

/// The reverse of to_attributes(); what it returns satisfies validate(). Unknown names become
/// extensions. `subject` serves as the key when `partitionkey` is missing.
///
/// Errors: kSchemaMismatch for another specversion; kInvalidArgument for a required attribute
/// that is missing, one that comes twice or one that cannot be read; kLimitExceeded.
Result<Event> from_attributes(std::span<const AttributeView> attributes, std::string data);
Result<Event> from_attributes(std::span<const Attribute> attributes, std::string data);

/// Limits on JSON from outside: its bytes, how deep it nests, and the events of one batch.
inline constexpr std::size_t kEventJsonBytesMax = 16U * 1024 * 1024;
inline constexpr std::size_t kEventJsonDepthMax = 128;
inline constexpr std::size_t kEventJsonBatchMax = 10'000;

/// `application/cloudevents+json`. Data that is JSON, by its content type and in fact, is
/// embedded as it is; any other data as `data_base64`. The event must satisfy validate().
std::string to_json(const Event& event);

/// `application/cloudevents-batch+json`.
std::string to_json_batch(std::span<const Event> events);

/// Reads the structured form. Data that is JSON keeps its bytes, and so numbers of any size.
///
/// Errors: kInvalidArgument, with the place, for what is not JSON or not a CloudEvent;
/// kSchemaMismatch for another specversion; kLimitExceeded.
Result<Event> from_json(std::string_view text);

/// Reads the batch form; all or nothing. Errors as from_json().
Result<std::vector<Event>> from_json_batch(std::string_view text);

}  // namespace instep
