// Reads the log in commit order, from a durable cursor, in batches.
//
// No event is skipped, and a crash at any point reads the same events again: the cursor
// moves only in confirm(). On SQLite there is one writer at a time and the sequence number
// is taken inside the write transaction, so sequence order is commit order.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/event/event.hpp"
#include "instep/log/log.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace instep {

/// An event with the topic it goes to.
struct TopicEvent {
    std::string topic;
    Event event;
};

/// Adds events that are made, not logged, to the end of a batch: chunks of a table read
/// under the very snapshot that the batch was read under. Called only when the batch
/// reaches the end of the log, so that a chunk stands behind everything it already holds.
class ChunkSource {
public:
    virtual ~ChunkSource() = default;

    /// `snapshot` is open for reading; `as_of` is the version of the chunks.
    virtual Result<std::vector<TopicEvent>> read_chunks(Transaction& snapshot,
                                                        const Version& as_of) = 0;

    /// All chunks of the last read_chunks() are published. Runs in the transaction that moves
    /// the cursor.
    virtual Result<void> confirm_chunks(Transaction& transaction) = 0;
};

/// Which keys a reader gets: those whose hash falls on `index` of `count`.
struct Partition {
    std::uint32_t index = 0;
    std::uint32_t count = 1;

    [[nodiscard]] bool holds(std::string_view key) const;
};

/// Partitions of a topic at the broker: `own`, but one for a topic of requests
/// ("iam.requests"), which services with different numbers of partitions publish to. Its
/// events go to the reader of partition 0.
std::uint32_t topic_partitions(std::string_view topic, std::uint32_t own);

struct LogReaderOptions {
    /// Names the cursor; one a purpose, such as "relay".
    std::string name;

    /// The `source` of the events, which is the service's name.
    std::string service;

    /// The share of the keys.
    Partition partition;

    /// Rows looked at in one read(), 1 to 100,000.
    std::uint32_t rows_max = 1000;

    /// A batch ends behind the event with which its data passes this many bytes.
    std::size_t bytes_max = 4U * 1024 * 1024;
};

/// Events in commit order and what confirming all of them means.
struct LogBatch {
    std::vector<TopicEvent> events;

    /// The sequence number of each event, for confirm(); 0 for chunks, which stand last.
    std::vector<std::uint64_t> seqs;

    /// The cursor once all events are confirmed.
    std::uint64_t end = 0;

    /// The log held nothing more when it was read.
    bool at_head = false;
};

/// For one thread at a time; one reader a cursor (a lease sees to that).
class LogReader {
public:
    /// Takes up the cursor, or makes it at the beginning of what the log holds. Checks the
    /// options. `chunks` may be null; it must outlive the reader. Errors: kInvalidArgument;
    /// kConflict if the cursor was made with another number of partitions; those of Connection.
    static Result<std::unique_ptr<LogReader>> open(Connection& connection, LogReaderOptions options,
                                                   ChunkSource* chunks);

    /// The next events behind the cursor; empty when there are none.
    Result<LogBatch> read(Connection& connection);

    /// Moves the cursor behind the first `count` events of `batch`.
    Result<void> confirm(Transaction& transaction, const LogBatch& batch, std::size_t count);

    /// Where the cursor stands.
    [[nodiscard]] std::uint64_t position() const noexcept { return position_; }

private:
    LogReader(LogReaderOptions options, LogIdentity identity, std::uint64_t position,
              ChunkSource* chunks);
    Result<void> read_rows(Transaction& snapshot, LogBatch& batch);

    LogReaderOptions options_;
    LogIdentity identity_;
    std::uint64_t position_;
    ChunkSource* chunks_;
};

/// How far the slowest partition of a cursor stands behind the log.
struct LogLag {
    std::uint64_t events = 0;

    /// When the oldest event behind the cursor was appended; nothing without lag.
    std::optional<Timestamp> oldest;
};

/// Errors: those of Connection.
Result<LogLag> log_lag(Connection& connection, std::string_view reader);

}  // namespace instep
