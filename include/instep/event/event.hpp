// The event envelope: CloudEvents 1.0 with the extensions that ordering, tracing and
// replicas need.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/event/version.hpp"

namespace instep {

/// What a state-carrying event does to the row of its key.
enum class Operation : std::uint8_t {
    kNone,    ///< Not state-carrying: a fact for handlers.
    kUpsert,  ///< `data` is the row's new state.
    kDelete,  ///< The row is gone; `data` holds its key columns.
    kChunk,   ///< `data` holds all rows of a key range, as of `version`.
    kDigest,  ///< `data` holds hashes of a key range, as of `version`.
};

/// "none", "upsert", "delete", "chunk" or "digest", as in the `operation` attribute.
std::string_view to_string(Operation operation) noexcept;

/// Errors: kInvalidArgument for another word.
Result<Operation> parse_operation(std::string_view text);

/// An immutable fact. Attribute names in the comments are the CloudEvents ones.
struct Event {
    /// `id`: unique within `source`; the pair identifies the event for ever.
    std::string id;

    /// `source`: the service that the event comes from, such as "iam".
    std::string source;

    /// `type`: `entity.action`, in the past tense: "user.created".
    std::string type;

    /// `subject` and `partitionkey`: what order is kept for, usually the entity's id.
    std::string key;

    /// `time`: when it was appended.
    Timestamp time{};

    /// `sequence`.
    Version version;

    /// `incarnation`: which life of the source database wrote it. 0 if not known.
    std::uint64_t incarnation = 0;

    /// `operation`; left out on the wire when kNone.
    Operation operation = Operation::kNone;

    /// `stream` and `streamversion`: the entity's stream and the event's dense place in it,
    /// from 1. Empty and 0 for events that belong to no stream.
    std::string stream;
    std::uint64_t stream_version = 0;

    /// `datacontenttype`.
    std::string content_type = "application/json";

    /// `dataschema`; empty when not registered.
    std::string schema;

    /// `correlationid`: the same for everything that one request caused.
    std::string correlation_id;

    /// `causationid`: the id of the event that caused this one.
    std::string causation_id;

    /// `traceparent`: W3C trace context.
    std::string trace_parent;

    /// Attributes that this version of the library does not know, as they came.
    std::vector<std::pair<std::string, std::string>> extensions;

    /// The payload, never parsed on the way.
    std::string data;

    friend bool operator==(const Event&, const Event&) = default;
};

/// Limits on every event from outside.
inline constexpr std::size_t kEventDataBytesMax = 8U * 1024 * 1024;
inline constexpr std::size_t kEventAttributeBytesMax = 4096;
inline constexpr std::size_t kEventExtensionsMax = 32;

/// Checks what every event must satisfy: id, source, type and key present and, like all
/// attributes, within kEventAttributeBytesMax and free of control characters; data within
/// kEventDataBytesMax.
///
/// Errors: kInvalidArgument names the attribute; kLimitExceeded.
Result<void> validate(const Event& event);

}  // namespace instep
