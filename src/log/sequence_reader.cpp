#include "sequence_reader.hpp"

#include "log_row.hpp"
#include "reading.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

/// Of the log that were seen and not reached. More are not remembered, and boundaries rarer then.
constexpr std::size_t kEndsMax = 1000;

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

Result<std::uint64_t> take_up_cursor(Transaction& transaction, const LogReaderOptions& options) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    const std::string_view name = options.name;
    const std::int64_t index = options.partition.index;
    const std::int64_t count = options.partition.count;
    if (options.start != CursorStart::kExisting) {
        const std::int64_t at_end = options.start == CursorStart::kEnd ? 1 : 0;
        INSTEP_TRY(transaction.execute(
            "INSERT INTO instep_cursor (reader, partition, partitions, seq, moved_us) "
            "VALUES ($1, $2, $3, "
            "  CASE $5 WHEN 1 THEN coalesce((SELECT max(seq) FROM instep_log), 0) ELSE 0 END, $4) "
            "ON CONFLICT (reader, partition) DO NOTHING",
            {name, index, count, micros(now), at_end}));
    }
    INSTEP_TRY_ASSIGN(auto rows, transaction.query("SELECT seq, partitions FROM instep_cursor "
                                                   "WHERE reader = $1 AND partition = $2",
                                                   {name, index}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return cursor_is_gone(options);
    }
    if (rows->integer(1) != count) {
        return partitions_changed(options.name, rows->integer(1), options.partition.count);
    }
    return static_cast<std::uint64_t>(rows->integer(0));
}

}  // namespace

SequenceReader::SequenceReader(LogReaderOptions options, LogIdentity identity,
                               std::uint64_t position, ChunkSource* chunks)
    : options_(std::move(options)), identity_(identity), position_(position), chunks_(chunks) {}

Result<std::unique_ptr<LogReader>> SequenceReader::open(Connection& connection,
                                                        LogReaderOptions options,
                                                        ChunkSource* chunks) {
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(connection));
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(const std::uint64_t position, take_up_cursor(transaction, options));
    INSTEP_TRY(transaction.commit());
    return std::make_unique<SequenceReader>(std::move(options), identity, position, chunks);
}

Result<bool> SequenceReader::read_rows(Transaction& snapshot, LogBatch& batch) {
    static const std::string kSelect =
        fmt::format("SELECT {} FROM instep_log WHERE seq > $1 ORDER BY seq LIMIT $2", kLogColumns);
    INSTEP_TRY_ASSIGN(auto rows,
                      snapshot.query(kSelect, {static_cast<std::int64_t>(position_),
                                               static_cast<std::int64_t>(options_.rows_max)}));
    std::uint32_t count = 0;
    std::size_t bytes = 0;
    while (bytes <= options_.bytes_max) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return count < options_.rows_max;
        }
        ++count;
        batch.end = static_cast<std::uint64_t>(rows->integer(kLogColumnSeq));
        const std::string_view topic = rows->text(kLogColumnTopic);
        if (!is_read_by(options_, topic, rows->text(kLogColumnKey))) {
            continue;
        }
        batch.seqs.push_back(batch.end);
        batch.events.push_back(
            TopicEvent{std::string(topic), read_log_row(*rows, identity_, options_.service)});
        bytes += batch.events.back().event.data.size();
    }
    return false;
}

/// Rows do not tell their transactions, but one snapshot never shows half of one: its end is a
/// boundary. The ends that were seen on the way are remembered, or there would be no boundary
/// for as long as writers are ahead.
Result<void> SequenceReader::find_boundary(Transaction& snapshot, LogBatch& batch, bool at_head) {
    if (at_head) {
        ends_.clear();
        batch.boundary = batch.events.size();
        return {};
    }
    INSTEP_TRY_ASSIGN(auto rows, snapshot.query("SELECT max(seq) FROM instep_log"));
    INSTEP_TRY(rows->next());
    const auto end = static_cast<std::uint64_t>(rows->integer(0));
    if (ends_.size() < kEndsMax && (ends_.empty() || ends_.back() < end)) {
        ends_.push_back(end);
    }
    const auto beyond = std::ranges::upper_bound(ends_, batch.end);
    if (beyond != ends_.begin()) {
        batch.boundary = static_cast<std::size_t>(
            std::ranges::upper_bound(batch.seqs, *std::prev(beyond)) - batch.seqs.begin());
    }
    return {};
}

Result<LogBatch> SequenceReader::read(Connection& connection) {
    INSTEP_TRY_ASSIGN(Transaction snapshot, Transaction::begin(connection, TransactionMode::kRead));
    LogBatch batch;
    batch.end = position_;
    // The reader of another partition may have begun an epoch.
    INSTEP_TRY_ASSIGN(identity_, log_identity(connection));
    INSTEP_TRY_ASSIGN(const bool at_head, read_rows(snapshot, batch));
    INSTEP_TRY(find_boundary(snapshot, batch, at_head));
    if (at_head && chunks_ != nullptr) {
        const Version as_of{identity_.epoch, batch.end, kChunkIndex};
        INSTEP_TRY_ASSIGN(auto chunks, chunks_->read_chunks(snapshot, as_of));
        append_chunks(batch, std::move(chunks), options_.service, identity_);
        batch.boundary = batch.events.size();
    }
    batch.has_more = !at_head;
    batch.moves_cursor = batch.end != position_ || !batch.events.empty();
    return batch;
}

Result<Version> SequenceReader::newest(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(transaction.connection()));
    // Not the newest row's, which may have been trimmed; a copy has the number of its time.
    INSTEP_TRY_ASSIGN(
        auto rows, transaction.query("SELECT seq FROM sqlite_sequence WHERE name = 'instep_log'"));
    INSTEP_TRY_ASSIGN(const bool has_given, rows->next());
    const std::uint64_t given = has_given ? static_cast<std::uint64_t>(rows->integer(0)) : 0;
    return Version{identity.epoch, std::max(given, position_), kChunkIndex};
}

Result<void> SequenceReader::confirm(Transaction& transaction, const LogBatch& batch,
                                     std::size_t count) {
    const bool whole = count == batch.events.size();
    const bool only_chunks_missing = !whole && batch.seqs[count] == 0;
    const std::uint64_t position = whole || only_chunks_missing ? batch.end : batch.seqs[count] - 1;
    // Also where only chunks are confirmed, which stand at the place of the cursor.
    if (position != position_ || count > 0) {
        const ConfirmedVersion confirmed(batch, count);
        INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
        INSTEP_TRY_ASSIGN(
            const std::int64_t moved,
            transaction.execute(
                "UPDATE instep_cursor SET seq = $1, moved_us = $2, "
                "confirmed = coalesce($5, confirmed) WHERE reader = $3 AND partition = $4",
                {static_cast<std::int64_t>(position), micros(now), std::string_view(options_.name),
                 static_cast<std::int64_t>(options_.partition.index), confirmed.value()}));
        if (moved == 0) {
            return cursor_is_gone(options_);
        }
    }
    if (whole && !batch.seqs.empty() && batch.seqs.back() == 0) {
        INSTEP_TRY(chunks_->confirm_chunks(transaction));
    }
    position_ = position;
    while (!ends_.empty() && ends_.front() <= position_) {
        ends_.pop_front();
    }
    return {};
}

Result<LogLag> sequence_lag(Connection& connection, std::string_view reader,
                            std::string_view topic) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query("SELECT count(*), min(time_us) FROM (SELECT time_us FROM instep_log "
                         "WHERE seq > (SELECT coalesce(min(seq), 0) FROM instep_cursor "
                         "  WHERE reader = $1) AND $3 IN ('', topic) ORDER BY seq LIMIT $2)",
                         std::initializer_list<ValueView>{reader, kLogLagMax, topic}));
    INSTEP_TRY(rows->next());
    LogLag lag{static_cast<std::uint64_t>(rows->integer(0)), std::nullopt};
    if (lag.events > 0) {
        lag.oldest = Timestamp{std::chrono::microseconds{rows->integer(1)}};
    }
    return lag;
}

}  // namespace instep
