// The log: the append-only table of events in a service's own database.
//
// What is appended within a transaction is in the log exactly if that transaction commits.
// Its order is the commit order, and every reader (relay, projection, process) sees it whole.
// Outbox, event store and embedded broker are three uses of this one table.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/event/event.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// What the log knows of itself.
struct LogIdentity {
    /// Random, from the creation of the database; tells two databases of one name apart.
    std::uint64_t incarnation = 0;

    /// The epoch in the version of every event read from now on.
    std::uint32_t epoch = 0;
};

/// An event to be appended. Fields as in Event.
struct NewEvent {
    /// Full name, such as "iam.user".
    std::string topic;
    std::string key;
    std::string type;
    std::string data;

    /// Makes the append idempotent: an id that is in the log already is not appended again.
    /// Empty: the log gives the event an id of its own.
    std::string id;

    /// Empty, or the stream that the event joins; the log gives it the next version there.
    std::string stream;
    Operation operation = Operation::kNone;
    std::string content_type = "application/json";
    std::string schema;
    std::string correlation_id;
    std::string causation_id;
    std::string trace_parent;
};

/// What a stream must look like for an append to go through.
class ExpectedVersion {
public:
    /// No expectation.
    static ExpectedVersion any() { return ExpectedVersion(std::nullopt); }

    /// The stream must not exist yet.
    static ExpectedVersion none() { return ExpectedVersion(0); }

    /// The newest event of the stream must have this version, from 1.
    static ExpectedVersion exactly(std::uint64_t version) { return ExpectedVersion(version); }

    [[nodiscard]] std::optional<std::uint64_t> value() const { return value_; }

private:
    explicit ExpectedVersion(std::optional<std::uint64_t> value) : value_(value) {}
    std::optional<std::uint64_t> value_;
};

/// Where one event went.
struct Appended {
    std::uint64_t seq = 0;
    std::uint64_t stream_version = 0;

    /// The id was in the log already; `seq` and `stream_version` are the earlier event's.
    bool repeated = false;
};

/// Reads the identity of the database's log. Errors: kSchemaMismatch if our tables are missing;
/// those of Connection.
Result<LogIdentity> log_identity(Connection& connection);

/// Appends the events, in order, as part of the caller's transaction. `expected` applies to
/// the stream of the events, which must then all name the same one.
///
/// Errors: kInvalidArgument and kLimitExceeded as validate(Event); kConflict if `expected` does not
/// hold, naming the stream's version; those of Connection. After an error the caller should
/// roll back.
Result<std::vector<Appended>> append(Transaction& transaction, std::span<const NewEvent> events,
                                     ExpectedVersion expected = ExpectedVersion::any());

/// The events of one stream from version `from` on, at most `count`, in order.
Result<std::vector<Event>> read_stream(Transaction& transaction, std::string_view service,
                                       std::string_view stream, std::uint64_t from,
                                       std::uint32_t count);

/// Makes everything that readers see from now on newer than all that was seen before, for a
/// source that was restored from a copy. Returns the new epoch, which is above `at_least`.
Result<std::uint32_t> begin_epoch(Transaction& transaction, std::uint32_t at_least);

/// Appends to each topic an event `log.epoch_begun` without operation. Consumers learn of an
/// epoch from an event of it, which may otherwise be long in coming.
Result<void> announce_epoch(Transaction& transaction, std::string_view service,
                            std::span<const std::string> topics);

/// The id of an event that was appended without one: the same at every reading.
std::string derived_event_id(const LogIdentity& identity, std::uint64_t seq, Timestamp time);

/// Deletes events that belong to no stream, that every reader with a cursor has passed, and
/// that were appended before `before`; at most `rows_max`. Returns how many.
///
/// On PostgreSQL also makes the log's partitions for what is to come, and drops a whole one at a
/// time, whatever `rows_max`; it waits for no writer: a partition in use stays for the next call.
Result<std::uint64_t> trim_log(Transaction& transaction, Timestamp before, std::uint32_t rows_max);

}  // namespace instep
