#pragma once

#include "instep/log/snapshot.hpp"
#include "instep/telemetry/logger.hpp"
#include "instep/wal/wal_reader.hpp"
#include "intake.hpp"
#include "slot.hpp"
#include "wal_cursor.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace instep::wal {

/// See include/instep/wal/wal_reader.hpp. While `inner_` is set, a reader by snapshot has the
/// word: before the write-ahead log's turn, or after it.
class WalReader final : public LogReader {
public:
    WalReader(LogReaderOptions log, WalReaderOptions options, std::unique_ptr<Connection> aside,
              ChunkSource* chunks, const Clock& clock, Logger& logger);

    /// Finds out whose turn it is.
    Result<void> open(Connection& connection);

    Result<LogBatch> read(Connection& connection) override;
    Result<void> confirm(Transaction& transaction, const LogBatch& batch,
                         std::size_t count) override;
    Result<Version> newest(Transaction& transaction) override;

private:
    /// Everything that `seen` sees was committed before `end`.
    struct LogMark {
        Snapshot seen;
        std::uint64_t seq = 0;
        std::uint64_t end = 0;
    };

    /// Where the chunks of a snapshot stand in the queue.
    struct ChunkPlace {
        /// Items in front of it.
        std::size_t items = 0;
        std::uint64_t version = 0;

        /// Items behind it that the snapshot sees.
        std::vector<std::size_t> late;

        /// Everything that the snapshot sees was committed before.
        std::uint64_t mark = 0;

        /// What stands behind it may have been handed out before.
        bool is_passed = false;
    };

    Result<LogBatch> read_by_snapshot(Connection& connection);
    Result<std::optional<LogBatch>> read_stream(Connection& connection);
    Result<void> start_stream(Connection& connection);
    Result<std::unique_ptr<Intake>> start_intake(Connection& connection);
    Result<void> start_again(Connection& connection, std::string_view why);
    Result<void> check_turn(Connection& connection) const;
    Result<void> finish(Connection& connection);
    Result<bool> fill(LogBatch& batch);
    void take_front(LogBatch& batch);
    Result<bool> heed_truncate(Connection& connection);
    Result<bool> look_at_state(Connection& connection, LogBatch& batch);
    Result<void> mind_budget(Connection& connection);
    Result<void> mark_log(Connection& connection);
    [[nodiscard]] bool is_at_rest() const;
    [[nodiscard]] bool has_passed_end(const Place& place) const;
    [[nodiscard]] bool is_move_due() const;

    Result<void> add_chunks(Connection& connection, LogBatch& batch);
    Result<std::optional<Snapshot>> snapshot_of(Transaction& transaction) const;
    Result<std::optional<std::uint64_t>> drain_to_mark();
    [[nodiscard]] ChunkPlace find_place(const Snapshot& seen, std::uint64_t mark) const;
    Result<std::optional<ChunkPlace>> place_of(Transaction& snapshot);
    [[nodiscard]] std::vector<TopicEvent> early_copies(const ChunkPlace& place,
                                                       const TopicEvent& digest) const;
    void hand_out_chunks(LogBatch& batch, const ChunkPlace& place, std::vector<TopicEvent> chunks);

    const LogReaderOptions log_;
    const WalReaderOptions options_;

    /// For what must not be part of the caller's transaction.
    std::unique_ptr<Connection> aside_;
    ChunkSource* chunks_;
    const Clock& clock_;
    Logger& logger_;

    std::unique_ptr<LogReader> inner_;
    bool is_after_ = false;
    LogIdentity identity_;
    WalCursor cursor_;
    std::unique_ptr<Intake> intake_;

    /// The place behind each event of the last batch, behind its events, and in front of its
    /// chunks. Nothing is outstanding once the batch was confirmed whole.
    std::vector<Place> places_;
    Place end_;
    bool is_outstanding_ = false;

    /// The transaction whose items are being handed out had events.
    bool had_events_ = false;

    /// Transactions that were handed out and may not be visible yet.
    std::vector<std::uint64_t> emitted_;

    /// What was committed before it may have been handed out by an earlier reader, or by this one
    /// before it started its stream anew, without the cursor telling of it.
    std::uint64_t maybe_emitted_ = 0;

    /// The cursor is durable up to here.
    std::uint64_t durable_ = 0;
    bool is_chunk_due_ = false;

    std::optional<LogMark> log_mark_;
    bool has_logged_ = true;
    std::chrono::microseconds mark_due_{0};
    std::chrono::microseconds budget_due_{0};
    std::chrono::microseconds move_due_{0};
    std::chrono::microseconds flush_due_{0};
    WalAlarm alarm_ = WalAlarm::kNone;
};

}  // namespace instep::wal
