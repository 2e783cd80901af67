// The owner's side of backfill, repair and verify: reading a published table in key order,
// a chunk at a time, under the snapshot that the relay reads the log under.
//
// A chunk holds all rows of its key range as of its version, so that everything older in that
// range, strays included, can go. It stands behind every change it already holds and before
// every change it does not, so no marks and no locks are needed (algorithm B-A). Where a
// scan has got to is stored; after a crash the last chunk is read again, with a newer version.
#pragma once

#include "instep/base/error.hpp"
#include "instep/consumer/handler.hpp"
#include "instep/log/reader.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

class Logger;

/// What a scan sends.
enum class ScanKind : std::uint8_t {
    kRows,    ///< Chunks of rows.
    kRanges,  ///< Digests: a hash and a count for each run of rows.
    kKeys,    ///< Digests: a hash for each row.
};

/// A consumer's request, as it travels in `scan.requested` events.
struct ScanRequest {
    /// Unique; a request that comes again changes nothing.
    std::string id;

    /// The subscription that the chunks are for.
    std::string consumer;
    std::string entity;
    ScanKind kind = ScanKind::kRows;

    /// Columns to read or hash, in this order. Empty: all of the contract.
    std::vector<std::string> columns;

    /// Key values as a JSON array; the range is behind `after`, up to and including `to`.
    /// Empty: from the first key, to the last.
    std::string after;
    std::string to;

    /// The answers go to the owner's topic of whole transactions, not to the entity's.
    bool in_transactions = false;
};

struct ScanOptions {
    /// Only scans that this subscription asked for; empty for those of all.
    std::string consumer{};

    /// Rows in one chunk, 1 to 100,000. Larger: fewer commits, and changes wait longer behind
    /// a chunk.
    std::uint32_t chunk_rows_max = 2000;

    /// A chunk also ends with the row by which its text passes this, 1 KiB to 4 MiB.
    std::size_t chunk_bytes_max = 1024U * 1024;

    /// Rows that one hash stands for. Larger: less to send, more to send again where it differs.
    std::uint32_t digest_rows = 1024;

    /// Hashes in one digest event, 1 to 1000.
    std::uint32_t digests_max = 8;

    /// Rows read for chunks in a second, over all scans of a partition; 0 for no limit. Smaller:
    /// less load on the owner's database, and a longer backfill.
    std::uint32_t rows_per_second_max = 0;

    /// Entities whose changes go to the topic of whole transactions too. Answers that are to go
    /// there are refused for others, which would never be followed by their changes.
    std::vector<std::string> transactions{};
};

/// The requests of other services, one subscription on `<service>.requests`.
/// Give it to a Consumer through an InboxHandler.
Verdict accept_scan_request(Transaction& transaction, const Event& event, std::uint32_t partitions);

/// Feeds a relay with the chunks of the open scans of its partition. For one thread at a time.
class ScanSource final : public ChunkSource {
public:
    /// `logger` must outlive the source.
    ScanSource(std::string service, Partition partition, Logger& logger, ScanOptions options = {});
    ~ScanSource() override;

    Result<std::vector<TopicEvent>> read_chunks(Transaction& snapshot,
                                                const Version& as_of) override;
    Result<bool> has_chunks(Transaction& snapshot) override;
    [[nodiscard]] std::string_view has_chunks_sql() const override;
    Result<void> confirm_chunks(Transaction& transaction) override;
    [[nodiscard]] bool holds_back() const override;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// A scan as the owner's database has it.
struct ScanStatus {
    std::string id;
    std::uint32_t partition = 0;
    std::string consumer;
    std::string entity;
    std::string kind;

    /// "open", "paused", "done" or "refused".
    std::string state;
    std::uint64_t rows_sent = 0;
    std::uint64_t chunks_sent = 0;
    std::string error;
};

/// What an operator may want of a scan that is under way.
enum class ScanCommand : std::uint8_t {
    kPause,   ///< No further chunk is read until it is resumed.
    kResume,  ///< It goes on where it stands.
    kCancel,  ///< The consumer is told that it was refused, by an operator.
};

/// Errors: kNotFound if no scan of this id is under way; kConflict if it is paused already, or
/// is to be resumed and not paused; those of Connection.
Result<void> command_scan(Transaction& transaction, std::string_view id, ScanCommand command);

/// The newest scans first, at most `count`. Errors: those of Connection.
Result<std::vector<ScanStatus>> list_scans(Connection& connection, std::uint32_t count);

/// Forgets scans that were over before `before`, which must be older than any request that may
/// still come again; at most `rows_max`. Returns how many.
Result<std::uint64_t> trim_scans(Transaction& transaction, Timestamp before,
                                 std::uint32_t rows_max);

}  // namespace instep
