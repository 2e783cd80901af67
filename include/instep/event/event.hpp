// The event envelope: CloudEvents 1.0 with the extensions that ordering, tracing and
// replicas need.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/event/version.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace instep {

/// What a state-carrying event does to the row of its key.
enum class Operation : std::uint8_t {
    kNone,    ///< Not state-carrying: a fact for handlers.
    kUpsert,  ///< `data` is the row's new state.
    kDelete,  ///< The row is gone; `data` holds its key columns.
    kChunk,   ///< `data` holds all rows of a key range, as of `version`.
    kDigest,  ///< `data` holds hashes of a key range, as of `version`.
};

/// True for a chunk or a digest. It speaks of a whole key range at its place in the order, so no
/// event may pass it, whatever its key.
constexpr bool speaks_of_range(Operation operation) noexcept {
    return operation == Operation::kChunk || operation == Operation::kDigest;
}

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

    /// `datacontenttype`; JSON where the attribute is missing.
    std::string content_type = "application/json";

    /// `dataschema`; empty when not registered.
    std::string schema;

    /// `correlationid`: the same for everything that one request caused. Empty: the event
    /// began something, and its own id is the correlation id of what follows.
    std::string correlation_id;

    /// `causationid`: the id of the event that caused this one.
    std::string causation_id;

    /// `traceparent`: W3C trace context.
    std::string trace_parent;

    /// Attributes that this version of the library does not know, as they came. A `subject`
    /// that differs from the key is kept here too.
    std::vector<std::pair<std::string, std::string>> extensions;

    /// The payload, never parsed on the way.
    std::string data;

    friend bool operator==(const Event&, const Event&) = default;
};

/// Limits on every event from outside.
inline constexpr std::size_t kEventDataBytesMax = 8U * 1024 * 1024;
inline constexpr std::size_t kEventAttributeBytesMax = 4096;

/// True for UTF-8 without control characters and within kEventAttributeBytesMax.
bool fits_attribute(std::string_view text);
inline constexpr std::size_t kEventExtensionsMax = 32;

/// Checks what every event must satisfy: id, source, type and key present; all attributes
/// UTF-8 without control characters and within kEventAttributeBytesMax; extensions named in
/// a-z and 0-9, each once, and none as an attribute that has a field; data within
/// kEventDataBytesMax.
///
/// Errors: kInvalidArgument or kLimitExceeded, naming the attribute.
Result<void> validate(const Event& event);

}  // namespace instep
