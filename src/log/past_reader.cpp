#include "past_reader.hpp"

#include "log_row.hpp"
#include "reading.hpp"

#include <fmt/format.h>

#include <utility>

namespace instep {

namespace {

std::uint64_t unsigned_of(const Cursor& row, std::size_t column) {
    return static_cast<std::uint64_t>(row.integer(column));
}

}  // namespace

Result<std::unique_ptr<LogReader>> PastReader::before(std::unique_ptr<LogReader> present,
                                                      Connection& connection,
                                                      const LogReaderOptions& options) {
    INSTEP_TRY_ASSIGN(
        const auto row,
        connection.query("SELECT past_seq, base::text, base_seq, base_waits, "
                         "coalesce(open::text, ''), after_seq, open_end FROM instep.cursor "
                         "WHERE reader = $1 AND partition = $2 AND past_seq IS NOT NULL",
                         std::initializer_list<ValueView>{std::string_view(options.name),
                                                          std::int64_t{options.partition.index}}));
    INSTEP_TRY_ASSIGN(const bool was_taken_back, row->next());
    if (!was_taken_back) {
        return present;
    }
    Passed passed;
    INSTEP_TRY_ASSIGN(passed.base.snapshot, parse_snapshot(row->text(1)));
    passed.base.seq = unsigned_of(*row, 2);
    INSTEP_TRY_ASSIGN(passed.base.waits, parse_waits(row->text(3)));
    passed.open = row->text(4);
    passed.open_after = unsigned_of(*row, 5);
    passed.end = unsigned_of(*row, 6);
    return std::unique_ptr<LogReader>(
        new PastReader(std::move(present), options, std::move(passed), unsigned_of(*row, 0)));
}

PastReader::PastReader(std::unique_ptr<LogReader> present, LogReaderOptions options, Passed passed,
                       std::uint64_t past_seq)
    : present_(std::move(present)),
      options_(std::move(options)),
      passed_(std::move(passed)),
      past_seq_(past_seq) {}

/// What the base sees, and what is confirmed of the batch behind it. Rows at the floor or below
/// were read whatever their ids say, which may be of a server before this one.
Result<std::unique_ptr<Cursor>> PastReader::select_rows(Transaction& transaction) const {
    static const std::string kSelect = fmt::format(
        "SELECT {} FROM instep.log WHERE seq > $1 AND seq <= $2 AND (seq <= $3 "
        "OR pg_visible_in_snapshot(xid, $4::pg_snapshot) "
        "OR (seq <= $5 AND pg_visible_in_snapshot(xid, $6::pg_snapshot))) ORDER BY seq LIMIT $7",
        kPostgresLogColumns);
    const auto number = [](std::uint64_t seq) { return static_cast<std::int64_t>(seq); };
    const std::string_view base = passed_.base.snapshot.text;
    const std::string_view open = passed_.open;
    return transaction.query(
        kSelect, {number(*past_seq_), number(passed_.end), number(passed_.base.floor()), base,
                  number(open.empty() ? 0 : passed_.open_after), open.empty() ? base : open,
                  std::int64_t{options_.rows_max}});
}

Result<LogBatch> PastReader::read(Connection& connection) {
    if (!past_seq_) {
        return present_->read(connection);
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(connection));
    INSTEP_TRY_ASSIGN(const auto rows, select_rows(transaction));
    LogBatch batch;
    batch.end = *past_seq_;
    batch.moves_cursor = true;
    batch.has_more = true;
    std::uint32_t count = 0;
    std::size_t bytes = 0;
    bool has_row = true;
    while (bytes <= options_.bytes_max) {
        INSTEP_TRY_ASSIGN(has_row, rows->next());
        if (!has_row) {
            break;
        }
        ++count;
        batch.end = unsigned_of(*rows, kLogColumnSeq);
        const std::string_view topic = rows->text(kLogColumnTopic);
        if (!is_read_by(options_, topic, rows->text(kLogColumnKey))) {
            continue;
        }
        batch.seqs.push_back(batch.end);
        Event& event =
            batch.events
                .emplace_back(std::string(topic), read_log_row(*rows, identity, options_.service))
                .event;
        event.version = Version{.epoch = 0, .batch = batch.end, .index = 0};
        bytes += event.data.size();
    }
    at_end_ = !has_row && count < options_.rows_max;
    return batch;
}

Result<void> PastReader::confirm(Transaction& transaction, const LogBatch& batch,
                                 std::size_t count) {
    if (!past_seq_) {
        return present_->confirm(transaction, batch, count);
    }
    if (count == batch.events.size()) {
        return move(transaction, at_end_ ? std::nullopt : std::optional(batch.end));
    }
    return count > 0 ? move(transaction, batch.seqs[count - 1]) : Result<void>{};
}

/// The end is kept over a loss of power: what came after it would otherwise come again as part of
/// a past that nobody asked for any more.
Result<void> PastReader::move(Transaction& transaction, std::optional<std::uint64_t> past_seq) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    INSTEP_TRY_ASSIGN(
        const std::int64_t moved,
        transaction.execute(
            fmt::format("UPDATE instep.cursor SET past_seq = $4, moved_us = {} "
                        "WHERE reader = $1 AND partition = $2 AND past_seq = $3",
                        past_seq ? "$5"
                                 : "CASE WHEN set_config('synchronous_commit', 'on', true) = 'on' "
                                   "THEN $5::bigint END"),
            {std::string_view(options_.name), std::int64_t{options_.partition.index},
             static_cast<std::int64_t>(*past_seq_),
             past_seq ? ValueView{static_cast<std::int64_t>(*past_seq)} : ValueView{kNull},
             std::int64_t{now.time_since_epoch().count()}}));
    if (moved == 0) {
        return fail(ErrorCode::kFenced,
                    fmt::format("another reader moved the cursor {} of partition {}", options_.name,
                                options_.partition.index));
    }
    past_seq_ = past_seq;
    return {};
}

Result<LogBatch> PastReader::advance(Connection& connection, const LogBatch& done,
                                     const std::function<Result<void>(Transaction&)>& check) {
    return past_seq_ ? LogReader::advance(connection, done, check)
                     : present_->advance(connection, done, check);
}

Result<Version> PastReader::newest(Transaction& transaction) {
    return present_->newest(transaction);
}

}  // namespace instep
