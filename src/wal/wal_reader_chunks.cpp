// Where chunks and digests stand in the stream: include/instep/wal/wal_reader.hpp says why.
#include "instep/base/fail_point.hpp"
#include "wal_reader.hpp"

#include <algorithm>

namespace instep::wal {

namespace {

using std::chrono::milliseconds;

/// Snapshots that are tried for one that sees all that was handed out.
constexpr int kTriesMax = 20;

/// How long the server may take to send what it has committed.
constexpr milliseconds kDrainPatience{2000};

}  // namespace

/// Nothing if the snapshot does not see something that was handed out: that transaction has
/// committed, and waits before it lets others see it.
Result<std::optional<Snapshot>> WalReader::snapshot_of(Transaction& transaction) const {
    INSTEP_TRY_ASSIGN(const auto row, transaction.query("SELECT pg_current_snapshot()::text"));
    INSTEP_TRY(row->next());
    INSTEP_TRY_ASSIGN(Snapshot seen, parse_snapshot(row->text(0)));
    const bool sees_all =
        std::ranges::all_of(emitted_, [&](std::uint64_t xid) { return seen.sees(xid); });
    return sees_all ? std::optional(std::move(seen)) : std::nullopt;
}

/// Writes a mark and takes all that was committed before it. Returns a position that stands
/// behind all of that and before whatever comes; nothing if that is too much for now.
Result<std::optional<std::uint64_t>> WalReader::drain_to_mark() {
    INSTEP_TRY_ASSIGN(const std::uint64_t mark, written_end(*aside_));
    // Its commit makes the server write and send what others have left unwritten.
    // A standby that lags must not hold it up.
    INSTEP_TRY(
        aside_->execute_script("SET LOCAL synchronous_commit = local; "
                               "SELECT pg_logical_emit_message(true, 'instep', 'mark')"));
    const auto until = clock_.monotonic() + kDrainPatience;
    std::size_t bytes = 0;
    while (intake_->received_end() < mark || intake_->is_in_transaction()) {
        const std::size_t before = intake_->queue().size();
        INSTEP_TRY(intake_->pull(milliseconds{5}));
        for (std::size_t i = before; i < intake_->queue().size(); ++i) {
            bytes += intake_->queue()[i].event.event.data.size();
        }
        if (intake_->queue().size() > log_.rows_max || bytes > log_.bytes_max ||
            clock_.monotonic() > until) {
            return std::nullopt;
        }
    }
    return mark;
}

WalReader::ChunkPlace WalReader::find_place(const Snapshot& seen, std::uint64_t mark) const {
    const auto& queue = intake_->queue();
    ChunkPlace place{queue.size(), mark - 1, {}, mark, false};
    bool is_behind = false;
    for (std::size_t i = 0; i < queue.size(); ++i) {
        const Item& item = queue[i];
        if (item.kind == Item::Kind::kCommit) {
            continue;
        }
        const bool sees = seen.sees(item.xid);
        if (!sees && !is_behind) {
            is_behind = true;
            place.items = i;
            place.version = item.commit_lsn - 1;
            place.is_passed = item.commit_lsn < maybe_emitted_;
        }
        if (sees && is_behind) {
            place.late.push_back(i);
        }
    }
    return place;
}

/// Nothing if another snapshot is needed.
Result<std::optional<WalReader::ChunkPlace>> WalReader::place_of(Transaction& snapshot) {
    INSTEP_TRY_ASSIGN(const auto seen, snapshot_of(snapshot));
    if (!seen) {
        return std::nullopt;
    }
    INSTEP_TRY_ASSIGN(const auto mark, drain_to_mark());
    const bool is_truncated = std::ranges::any_of(
        intake_->queue(), [](const Item& item) { return item.kind == Item::Kind::kTruncate; });
    if (!mark || is_truncated) {
        return std::nullopt;
    }
    ChunkPlace place = find_place(*seen, *mark);
    return place.is_passed ? std::nullopt : std::optional(std::move(place));
}

Result<void> WalReader::add_chunks(Connection& connection, LogBatch& batch) {
    const auto until = clock_.monotonic() + kDrainPatience;
    for (int tries = 0; tries < kTriesMax && is_at_rest() && clock_.monotonic() < until; ++tries) {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(connection, TransactionMode::kRead));
        INSTEP_TRY_ASSIGN(const bool wanted, chunks_->has_chunks(transaction));
        if (!wanted) {
            return {};
        }
        INSTEP_TRY_ASSIGN(const auto place, place_of(transaction));
        if (!place) {
            INSTEP_TRY(transaction.query("SELECT pg_sleep(0.001)"));
            continue;
        }
        INSTEP_TRY_ASSIGN(auto chunks,
                          chunks_->read_chunks(
                              transaction, Version{identity_.epoch, place->version, kChunkIndex}));
        INSTEP_FAIL_POINT("wal.after_chunk_read");
        hand_out_chunks(batch, *place, std::move(chunks));
        return {};
    }
    return {};
}

/// What the digest holds already, and what would come behind it. It comes there again, with what
/// the log says of its key in order: rows only, since nothing keeps appended events apart.
std::vector<TopicEvent> WalReader::early_copies(const ChunkPlace& place,
                                                const TopicEvent& digest) const {
    std::vector<TopicEvent> copies;
    for (const std::size_t late : place.late) {
        const Item& item = intake_->queue()[late];
        if (!item.is_logged && item.event.topic == digest.topic) {
            copies.push_back(item.event);
        }
    }
    return copies;
}

void WalReader::hand_out_chunks(LogBatch& batch, const ChunkPlace& place,
                                std::vector<TopicEvent> chunks) {
    std::vector<TopicEvent> made;
    for (TopicEvent& chunk : chunks) {
        chunk.event.source = log_.service;
        chunk.event.incarnation = identity_.incarnation;
        if (chunk.event.operation == Operation::kDigest) {
            auto copies = early_copies(place, chunk);
            chunk.event.version.batch = copies.empty() ? place.version : place.mark - 1;
            std::ranges::move(copies, std::back_inserter(made));
        }
        made.push_back(std::move(chunk));
    }
    for (std::size_t i = 0; i < place.items; ++i) {
        take_front(batch);
    }
    // A copy that comes early is a part of its transaction only.
    const bool at_boundary = batch.boundary == batch.events.size() && made.size() == chunks.size();
    for (TopicEvent& next : made) {
        batch.events.push_back(std::move(next));
        batch.seqs.push_back(0);
    }
    if (at_boundary) {
        batch.boundary = batch.events.size();
    }
}

}  // namespace instep::wal
