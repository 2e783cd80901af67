#pragma once

#include "instep/log/reader.hpp"
#include "instep/log/snapshot.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace instep {

/// Reads by snapshots: on PostgreSQL. See sql/postgres/001_log.sql for the cursor's columns.
class SnapshotReader final : public LogReader {
public:
    static Result<std::unique_ptr<LogReader>> open(Connection& connection, LogReaderOptions options,
                                                   ChunkSource* chunks);

    Result<LogBatch> read(Connection& connection) override;
    Result<void> confirm(Transaction& transaction, const LogBatch& batch,
                         std::size_t count) override;
    Result<LogBatch> advance(Connection& connection, const LogBatch& done,
                             const std::function<Result<void>(Transaction&)>& check) override;
    Result<Version> newest(Transaction& transaction) override;

private:
    /// A batch that was begun: a snapshot, and how much of what it adds is confirmed.
    struct OpenBatch {
        Horizon horizon;

        /// No row that the snapshot sees has a higher number; in a restored log, none that the
        /// base saw.
        std::uint64_t end = 0;
        std::uint64_t after_seq = 0;
        std::uint32_t after_index = 0;

        /// The rows up to here came with a dump: their transaction ids are of another server.
        std::optional<std::uint64_t> restored_end;
    };

    /// What one look at the log found.
    struct Page {
        LogBatch batch;

        /// The open batch holds nothing behind it.
        bool is_last = false;
    };

    /// A batch that may be begun, and its first page.
    struct Look {
        OpenBatch next;
        Page page;

        /// Chunks are wanted behind it, which were not read; nor was the page.
        bool lacks_chunks = false;
    };

    SnapshotReader(LogReaderOptions options, LogIdentity identity, ChunkSource* chunks);
    Result<bool> take_up_cursor(Transaction& transaction);
    Result<void> move_to_end(Connection& connection);
    Result<void> load_cursor(Transaction& transaction);
    Result<LogBatch> begin_batch(Connection& connection);
    Result<OpenBatch> look_ahead(Transaction& transaction);
    Result<Snapshot> see(Transaction& transaction);
    Result<void> note_snapshot(Transaction& transaction, const OpenBatch& newest);
    Result<std::optional<Look>> look_at_noted(Connection& connection);
    Result<Look> look_for_rows(Connection& connection, const Horizon& base);
    Result<Look> look_for_all(Connection& connection);
    bool may_pass_in_memory();

    /// Whether moving the cursor ends the transaction, in the same round trip.
    enum class After : std::uint8_t { kGoOn, kCommit };
    Result<void> store_batch(Transaction& transaction, const Horizon& base, const OpenBatch& next,
                             ValueView confirmed);
    Result<void> confirm_open(Transaction& transaction, ValueView confirmed, After after);
    Result<LogBatch> hand_out(Look look);
    Result<LogBatch> continue_batch(Connection& connection);
    Result<Page> read_page(Transaction& transaction, const OpenBatch& open, std::uint64_t batch);
    Result<Page> collect(Cursor& rows, bool has_row, const OpenBatch& open, std::uint64_t batch);
    Result<std::unique_ptr<Cursor>> select_rows(Transaction& transaction, const OpenBatch& open);
    void finish_page(LogBatch& page);
    Result<void> move_cursor(Transaction& transaction, std::string_view assignments,
                             std::string_view condition, std::vector<ValueView> parameters,
                             After after);

    const LogReaderOptions options_;
    LogIdentity identity_;
    ChunkSource* chunks_;

    /// Of look_for_rows(), once it was needed.
    std::string rows_sql_;

    /// The number of the newest batch; rises whenever one is begun.
    std::uint64_t batch_ = 0;

    /// What it was when the reader was opened.
    std::uint64_t newest_ = 0;

    /// Everything that `base_` sees was confirmed.
    Horizon base_;
    std::optional<OpenBatch> open_;

    /// The last snapshot, if what comes behind it is read another way.
    std::optional<Horizon> last_;

    /// The last page that was read ends the open batch.
    bool at_end_ = false;

    /// Read from the sequence before the newest transaction of this cursor got its id.
    std::uint64_t written_seq_ = 0;

    /// What the sequence was at the last look.
    std::uint64_t seen_seq_ = 0;

    /// Snapshots that were taken while more waited than a page, for the batches behind the open
    /// one. Forgotten with the reader: then one batch holds all that waits.
    std::deque<OpenBatch> noted_;

    /// Chunks that were read under the open batch's snapshot, until its last page.
    std::vector<TopicEvent> chunks_held_;

    /// Of the last page, which the next one is likely to be as large as.
    std::uint32_t rows_last_ = 0;

    /// The index behind which the last page begins.
    std::uint32_t page_index_ = 0;

    /// Looks whose rows were passed in memory since the cursor was stored.
    std::uint32_t looks_passed_ = 0;

    /// As many as bytes_max holds of the rows of the last page.
    std::uint32_t rows_next_;
};

Result<LogLag> snapshot_lag(Connection& connection, std::string_view reader,
                            std::string_view topic);

}  // namespace instep
