// Reads the log in commit order, from a durable cursor, in batches.
//
// No event is skipped, and a crash at any point reads the same events again, with the same
// versions: the cursor moves only in confirm().
//
// On SQLite there is one writer at a time and the sequence number is taken inside the write
// transaction, so sequence order is commit order. On PostgreSQL a batch is what one snapshot sees
// and the one before did not, in sequence order; the snapshot is stored before anything of it is
// handed out (PgQ's two snapshots). A transaction that stays open delays its own events only.
// That is per-key commit order if the number is drawn while the key's row is locked, as
// capture triggers and streams do it.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/event/event.hpp"
#include "instep/log/cursors.hpp"
#include "instep/log/log.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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

    /// False if read_chunks() would surely return none. Errors: those of Connection.
    virtual Result<bool> has_chunks(Transaction& snapshot);

    /// The same as a SQL expression of PostgreSQL's, for who asks on the way.
    [[nodiscard]] virtual std::string_view has_chunks_sql() const { return "true"; }

    /// All chunks of the last read_chunks() are published. Runs in the transaction that moves
    /// the cursor.
    virtual Result<void> confirm_chunks(Transaction& transaction) = 0;

    /// It has more and gives it later, to spare the database.
    [[nodiscard]] virtual bool holds_back() const { return false; }
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

/// What a reader does when its cursor is not there.
enum class CursorStart : std::uint8_t {
    kBeginning,  ///< Makes it, before all that the log holds.
    kEnd,        ///< Makes it, behind what is committed now.
    kExisting,   ///< Fails: somebody has taken it away.
};

struct LogReaderOptions {
    /// Names the cursor; one a purpose, such as "relay".
    std::string name;

    /// The `source` of the events, which is the service's name.
    std::string service;

    /// The share of the keys.
    Partition partition;

    /// Tells the topics that are read; empty for all of them. What is not read is passed, and
    /// the cursor may for a while stand before it.
    std::function<bool(std::string_view topic)> reads_topic{};

    /// What to do without a cursor.
    CursorStart start = CursorStart::kBeginning;

    /// Rows looked at in one read(), 1 to 100,000.
    std::uint32_t rows_max = 1000;

    /// A batch ends behind the event with which its data passes this many bytes.
    std::size_t bytes_max = 4U * 1024 * 1024;

    /// Fails with kFenced if somebody else has taken the cursor over. A reader asks before it does
    /// what the cursor does not guard, such as to make a replication slot anew. Null: nobody can.
    std::function<Result<void>(Transaction&)> check_turn{};

    /// LogBatch::boundary comes about once a page also where much waits, as far as the reader was
    /// there when it was written. Costs a query a page, and smaller batches. Needs a reader whose
    /// cursor is moved on the connection that it reads on.
    bool wants_boundaries = false;
};

/// Events in commit order.
struct LogBatch {
    std::vector<TopicEvent> events;

    /// The sequence number of each event, for confirm(); 0 for chunks, which stand last.
    std::vector<std::uint64_t> seqs;

    /// Behind the last row that was looked at, events of other partitions among them.
    std::uint64_t end = 0;

    /// Behind so many of the events, and everything before this batch, no transaction is half
    /// read; the last such place. Nothing where there is none.
    std::optional<std::size_t> boundary;

    /// Confirming it moves the cursor, even if it holds no events.
    bool moves_cursor = false;

    /// There may be more behind it already.
    bool has_more = false;
};

/// For one thread at a time; one reader a cursor (a lease sees to that). After an error open
/// another: what it remembers may be of a server that crashed or was replaced.
class LogReader {
public:
    /// A way to open a reader; see open().
    using Open = std::function<Result<std::unique_ptr<LogReader>>(
        Connection& connection, LogReaderOptions options, ChunkSource* chunks)>;

    /// Takes up the cursor, or makes it as `options.start` says. Checks the options. `chunks` may
    /// be null; it must outlive the reader.
    ///
    /// On PostgreSQL a log that was restored from a dump gets a new incarnation here, and the
    /// versions that a new cursor reads are newer than what was read with any other.
    ///
    /// Errors: kInvalidArgument; kConflict if the cursor was made with another number of
    /// partitions; kNotFound without the cursor if it must exist; those of Connection.
    static Result<std::unique_ptr<LogReader>> open(Connection& connection, LogReaderOptions options,
                                                   ChunkSource* chunks);
    virtual ~LogReader() = default;
    LogReader(const LogReader&) = delete;
    LogReader& operator=(const LogReader&) = delete;

    /// The next events behind the cursor; empty when there are none. Errors: those of Connection;
    /// kFenced if another reader moved the cursor.
    virtual Result<LogBatch> read(Connection& connection) = 0;

    /// Moves the cursor behind the first `count` events of `batch`, the last that was read. Until
    /// all are confirmed it may be called again with a larger count. Errors: as read().
    virtual Result<void> confirm(Transaction& transaction, const LogBatch& batch,
                                 std::size_t count) = 0;

    /// As confirm() of all of `done`, the last batch that was read, in a transaction that `check`
    /// allows, and then read(); on PostgreSQL mostly by one commit in place of two. Errors: as
    /// both; those of `check`. After an error the cursor may have been moved.
    virtual Result<LogBatch> advance(Connection& connection, const LogBatch& done,
                                     const std::function<Result<void>(Transaction&)>& check);

    /// No event that was read with this cursor, before this reader was opened, has a newer
    /// version. What a broker holds beyond it was lost here: the log was restored from a copy.
    /// Errors: those of Connection.
    virtual Result<Version> newest(Transaction& transaction) = 0;

protected:
    LogReader() = default;
};

/// An event of a log, as somebody outside of its database remembers it.
struct RememberedEvent {
    std::uint64_t incarnation = 0;
    Version version;
};

/// Begins an epoch above `remembered`, and announces it to `topics`, if this log cannot have
/// written that event yet: then it is a copy of an earlier state, or another database under the
/// same name. Returns the new epoch; nothing if the log is what it should be. Errors: those of
/// Connection.
Result<std::optional<std::uint32_t>> surpass(Transaction& transaction, LogReader& reader,
                                             std::string_view service,
                                             const RememberedEvent& remembered,
                                             std::span<const std::string> topics);

}  // namespace instep
