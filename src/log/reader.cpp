#include "instep/log/reader.hpp"

#include "instep/base/bytes.hpp"
#include "instep/db/dialect.hpp"
#include "past_reader.hpp"
#include "sequence_reader.hpp"
#include "snapshot_reader.hpp"

#include <fmt/format.h>

namespace instep {

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

bool reads_by_snapshot(const Connection& connection) {
    return connection.dialect().name() == "postgres";
}

}  // namespace

bool Partition::holds(std::string_view key) const {
    return count == 1 || key_hash(key) % count == index;
}

Result<bool> ChunkSource::has_chunks(Transaction& /*snapshot*/) { return true; }

Result<LogBatch> LogReader::advance(Connection& connection, const LogBatch& done,
                                    const std::function<Result<void>(Transaction&)>& check) {
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(check(transaction));
    INSTEP_TRY(confirm(transaction, done, done.events.size()));
    INSTEP_TRY(transaction.commit());
    return read(connection);
}

std::uint32_t topic_partitions(std::string_view topic, std::uint32_t own) {
    return topic.ends_with(".requests") ? 1 : own;
}

bool is_read_by(const LogReaderOptions& options, std::string_view topic, std::string_view key) {
    if (options.reads_topic && !options.reads_topic(topic)) {
        return false;
    }
    const Partition& partition = options.partition;
    return topic_partitions(topic, partition.count) == 1 ? partition.index == 0
                                                         : partition.holds(key);
}

void append_chunks(LogBatch& batch, std::vector<TopicEvent> chunks, std::string_view service,
                   const LogIdentity& identity) {
    for (TopicEvent& chunk : chunks) {
        chunk.event.source = service;
        chunk.event.incarnation = identity.incarnation;
        batch.events.push_back(std::move(chunk));
        batch.seqs.push_back(0);
    }
}

std::unexpected<Error> partitions_changed(std::string_view reader, std::int64_t standing,
                                          std::uint32_t wanted) {
    return fail(ErrorCode::kConflict,
                fmt::format("reader {} keeps its place for {} partitions, not {}; set `partitions` "
                            "back",
                            reader, standing, wanted));
}

std::unexpected<Error> cursor_is_gone(const LogReaderOptions& options) {
    return fail(ErrorCode::kNotFound,
                fmt::format("the log of {} keeps no place for reader {} any more; start the "
                            "service that reads it again",
                            options.service, options.name));
}

Result<std::unique_ptr<LogReader>> LogReader::open(Connection& connection, LogReaderOptions options,
                                                   ChunkSource* chunks) {
    INSTEP_TRY(check(options));
    if (!reads_by_snapshot(connection)) {
        return SequenceReader::open(connection, std::move(options), chunks);
    }
    INSTEP_TRY_ASSIGN(auto present, SnapshotReader::open(connection, options, chunks));
    return PastReader::before(std::move(present), connection, options);
}

Result<std::optional<std::uint32_t>> surpass(Transaction& transaction, LogReader& reader,
                                             std::string_view service,
                                             const RememberedEvent& remembered,
                                             std::span<const std::string> topics) {
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(transaction.connection()));
    INSTEP_TRY_ASSIGN(const Version newest, reader.newest(transaction));
    const bool behind =
        remembered.version.epoch == identity.epoch
            ? remembered.incarnation != identity.incarnation || remembered.version > newest
            : remembered.version.epoch > identity.epoch;
    if (!behind) {
        return std::nullopt;
    }
    INSTEP_TRY_ASSIGN(const std::uint32_t epoch,
                      begin_epoch(transaction, remembered.version.epoch));
    INSTEP_TRY(announce_epoch(transaction, service, topics));
    return epoch;
}

Result<std::optional<Version>> last_confirmed(Connection& connection, std::string_view reader) {
    INSTEP_TRY_ASSIGN(const auto rows,
                      connection.query("SELECT confirmed FROM instep_cursor WHERE reader = $1 AND "
                                       "partition = 0 AND confirmed IS NOT NULL",
                                       std::initializer_list<ValueView>{reader}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return std::nullopt;
    }
    return version_from_bytes(rows->blob(0));
}

Result<LogLag> log_lag(Connection& connection, std::string_view reader, std::string_view topic) {
    return reads_by_snapshot(connection) ? snapshot_lag(connection, reader, topic)
                                         : sequence_lag(connection, reader, topic);
}

Result<void> refuse_other_partitions(Connection& connection, std::string_view reader,
                                     std::uint32_t partitions) {
    const auto rows = connection.query(
        "SELECT partitions FROM instep_cursor WHERE reader = $1 ORDER BY partition LIMIT 1",
        std::initializer_list<ValueView>{reader});
    if (!rows && rows.error().code == ErrorCode::kNotFound) {
        return {};
    }
    INSTEP_TRY(rows);
    INSTEP_TRY_ASSIGN(const bool found, (*rows)->next());
    if (found && (*rows)->integer(0) != std::int64_t{partitions}) {
        return partitions_changed(reader, (*rows)->integer(0), partitions);
    }
    return {};
}

Result<std::vector<std::string>> list_readers(Connection& connection, std::string_view prefix) {
    INSTEP_TRY_ASSIGN(const auto rows,
                      connection.query("SELECT DISTINCT reader FROM instep_cursor "
                                       "WHERE substr(reader, 1, length($1)) = $1 ORDER BY reader",
                                       std::initializer_list<ValueView>{prefix}));
    std::vector<std::string> readers;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return readers;
        }
        readers.emplace_back(rows->text(0));
    }
}

Result<void> remove_readers(Transaction& transaction, std::string_view prefix) {
    INSTEP_TRY(transaction.execute(
        "DELETE FROM instep_cursor WHERE substr(reader, 1, length($1)) = $1", {prefix}));
    return {};
}

}  // namespace instep
