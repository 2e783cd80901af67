// Contracts as JSON Schema (draft 2020-12): what a service publishes, in one document that is kept
// beside the code, and what a change of it breaks.
#pragma once

#include "instep/base/error.hpp"
#include "instep/capture/contract.hpp"
#include "instep/event/payload_schema.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// One type of events.
struct PublishedEvent {
    /// Such as "user.created".
    std::string type;

    /// Such as "iam.user".
    std::string topic;

    /// Their `dataschema`; empty if they have none.
    std::string schema;

    /// The JSON Schema of their data.
    std::string data_schema;

    /// The columns of the key, for the rows of a table.
    std::vector<std::string> key{};
};

/// The events of a published table: created, updated and deleted. A column that may be null is not
/// required. SQLite holds no column to its type unless the table is STRICT; the schema says what
/// is declared.
std::vector<PublishedEvent> published_events(const Contract& contract);

/// The events of a struct, which go to `topic`.
template <Payload T>
PublishedEvent published_event(std::string topic) {
    return {std::string(T::kType), std::move(topic), std::string(schema_of<T>()),
            payload_schema<T>()};
}

/// The document: `$defs` has the data of each type, and the whole describes an event in
/// CloudEvents' JSON. Types stand in the order of their names.
std::string to_json_schema(std::string_view service, std::span<const PublishedEvent> events);

/// Whom a difference harms.
enum class Breaks : std::uint8_t {
    kNobody,

    /// Programs that know the older document, when they get new events.
    kReaders,

    /// Programs that know the newer document, when they get events from before: those that wait,
    /// and those of a replay.
    kPast,
};

/// "nobody", "readers" or "past".
std::string_view to_string(Breaks breaks) noexcept;

/// What is different at one place.
struct ContractDifference {
    /// Types of events; all of them have the same difference.
    std::vector<std::string> types;

    /// The field, with dots between fields within fields; empty for the event as a whole.
    std::string field;

    /// What happened, such as "dropped".
    std::string change;
    Breaks breaks = Breaks::kNobody;

    /// Whom it harms and how; empty if nobody.
    std::string reason;
};

/// Documents larger than this, or nested deeper, are refused.
inline constexpr std::size_t kContractDocumentBytesMax = 8U * 1024 * 1024;
inline constexpr int kContractDepthMax = 32;

/// Everything that differs, what breaks somebody first. Of a document's data schemas it reads
/// `type`, `properties`, `required` and `items`, which is all that to_json_schema() writes of them.
///
/// Errors: kCorrupt for what is no such document, telling which of the two; kLimitExceeded.
Result<std::vector<ContractDifference>> compare_contracts(std::string_view older,
                                                          std::string_view newer);

}  // namespace instep
