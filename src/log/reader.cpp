#include "instep/log/reader.hpp"

#include "instep/base/bytes.hpp"
#include "log_row.hpp"

#include <fmt/format.h>

namespace instep {

bool Partition::holds(std::string_view key) const {
    return count == 1 || key_hash(key) % count == index;
}

std::uint32_t topic_partitions(std::string_view topic, std::uint32_t own) {
    return topic.ends_with(".requests") ? 1 : own;
}

namespace {

Result<void> check(const LogReaderOptions& options) {
    if (options.name.empty() || options.service.empty()) {
        return fail(ErrorCode::kInvalidArgument, "a log reader needs a name and a service");
    }
    if (options.partition.index >= options.partition.count || options.rows_max < 1 ||
        options.rows_max > 100'000) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("log reader {}: partition {} of {} with {} rows a batch is out of "
                                "bounds",
                                options.name, options.partition.index, options.partition.count,
                                options.rows_max));
    }
    return {};
}

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

Result<std::uint64_t> take_up_cursor(Transaction& transaction, const LogReaderOptions& options) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    const std::string_view name = options.name;
    const std::int64_t index = options.partition.index;
    const std::int64_t count = options.partition.count;
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_cursor (reader, partition, partitions, seq, moved_us) "
        "VALUES ($1, $2, $3, 0, $4) ON CONFLICT (reader, partition) DO NOTHING",
        {name, index, count, micros(now)}));
    INSTEP_TRY_ASSIGN(auto rows, transaction.query("SELECT seq, partitions FROM instep_cursor "
                                                   "WHERE reader = $1 AND partition = $2",
                                                   {name, index}));
    INSTEP_TRY(rows->next());
    if (rows->integer(1) != count) {
        return fail(ErrorCode::kConflict,
                    fmt::format("reader {} keeps its place for {} partitions, not {}; set "
                                "`partitions` back",
                                name, rows->integer(1), count));
    }
    return static_cast<std::uint64_t>(rows->integer(0));
}

}  // namespace

LogReader::LogReader(LogReaderOptions options, LogIdentity identity, std::uint64_t position,
                     ChunkSource* chunks)
    : options_(std::move(options)), identity_(identity), position_(position), chunks_(chunks) {}

Result<std::unique_ptr<LogReader>> LogReader::open(Connection& connection, LogReaderOptions options,
                                                   ChunkSource* chunks) {
    INSTEP_TRY(check(options));
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(connection));
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(const std::uint64_t position, take_up_cursor(transaction, options));
    INSTEP_TRY(transaction.commit());
    return std::unique_ptr<LogReader>(
        new LogReader(std::move(options), identity, position, chunks));
}

Result<void> LogReader::read_rows(Transaction& snapshot, LogBatch& batch) {
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
            batch.at_head = count < options_.rows_max;
            return {};
        }
        ++count;
        batch.end = static_cast<std::uint64_t>(rows->integer(kLogColumnSeq));
        const std::string_view topic = rows->text(kLogColumnTopic);
        const bool is_shared = topic_partitions(topic, options_.partition.count) == 1;
        if (is_shared ? options_.partition.index != 0
                      : !options_.partition.holds(rows->text(kLogColumnKey))) {
            continue;
        }
        batch.seqs.push_back(batch.end);
        batch.events.push_back(
            TopicEvent{std::string(topic), read_log_row(*rows, identity_, options_.service)});
        bytes += batch.events.back().event.data.size();
    }
    return {};
}

Result<LogBatch> LogReader::read(Connection& connection) {
    INSTEP_TRY_ASSIGN(Transaction snapshot, Transaction::begin(connection, TransactionMode::kRead));
    LogBatch batch;
    batch.end = position_;
    // The reader of another partition may have begun an epoch.
    INSTEP_TRY_ASSIGN(identity_, log_identity(connection));
    INSTEP_TRY(read_rows(snapshot, batch));
    if (batch.at_head && chunks_ != nullptr) {
        const Version as_of{identity_.epoch, batch.end, kChunkIndex};
        INSTEP_TRY_ASSIGN(auto chunks, chunks_->read_chunks(snapshot, as_of));
        for (TopicEvent& chunk : chunks) {
            chunk.event.source = options_.service;
            chunk.event.incarnation = identity_.incarnation;
            batch.events.push_back(std::move(chunk));
            batch.seqs.push_back(0);
        }
    }
    return batch;
}

Result<void> LogReader::confirm(Transaction& transaction, const LogBatch& batch,
                                std::size_t count) {
    const bool whole = count == batch.events.size();
    const bool only_chunks_missing = !whole && batch.seqs[count] == 0;
    const std::uint64_t position = whole || only_chunks_missing ? batch.end : batch.seqs[count] - 1;
    if (position != position_) {
        INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
        INSTEP_TRY(transaction.execute(
            "UPDATE instep_cursor SET seq = $1, moved_us = $2 WHERE reader = $3 AND partition = $4",
            {static_cast<std::int64_t>(position), micros(now), std::string_view(options_.name),
             static_cast<std::int64_t>(options_.partition.index)}));
    }
    if (whole && !batch.seqs.empty() && batch.seqs.back() == 0) {
        INSTEP_TRY(chunks_->confirm_chunks(transaction));
    }
    position_ = position;
    return {};
}

Result<LogLag> log_lag(Connection& connection, std::string_view reader) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query("SELECT count(*), min(time_us) FROM instep_log WHERE seq > "
                         "(SELECT coalesce(min(seq), 0) FROM instep_cursor WHERE reader = $1)",
                         std::initializer_list<ValueView>{reader}));
    INSTEP_TRY(rows->next());
    LogLag lag{static_cast<std::uint64_t>(rows->integer(0)), std::nullopt};
    if (lag.events > 0) {
        lag.oldest = Timestamp{std::chrono::microseconds{rows->integer(1)}};
    }
    return lag;
}

}  // namespace instep
