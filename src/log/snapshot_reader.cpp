#include "snapshot_reader.hpp"

#include "instep/base/fail_point.hpp"
#include "instep/log/restored_log.hpp"
#include "log_row.hpp"
#include "reading.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

/// A page is never smaller, however large its rows are.
constexpr std::uint32_t kRowsMin = 16;

/// Rows for others are passed in memory in so many looks, for a look that is stored costs two
/// commits. What is not stored counts as lag, and is kept in the log.
constexpr std::uint32_t kLooksPassedMax = 20;

/// Snapshots that were taken and not reached. More are not remembered, and boundaries rarer then.
constexpr std::size_t kNotedMax = 1000;

/// What look_for_rows() adds to the log's columns.
constexpr std::size_t kLookSnapshot = kPostgresLogColumnCount;
constexpr std::size_t kLookEnd = kLookSnapshot + 1;
constexpr std::size_t kLookIncarnation = kLookSnapshot + 2;
constexpr std::size_t kLookEpoch = kLookSnapshot + 3;
constexpr std::size_t kLookHasChunks = kLookSnapshot + 4;

std::int64_t signed_of(std::uint64_t number) { return static_cast<std::int64_t>(number); }

std::uint64_t unsigned_of(const Cursor& row, std::size_t column) {
    return static_cast<std::uint64_t>(row.integer(column));
}

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

Result<Horizon> read_horizon(const Cursor& row, std::size_t first) {
    Horizon horizon;
    INSTEP_TRY_ASSIGN(horizon.snapshot, parse_snapshot(row.text(first)));
    horizon.seq = unsigned_of(row, first + 1);
    INSTEP_TRY_ASSIGN(horizon.waits, parse_waits(row.text(first + 2)));
    return horizon;
}

LogBatch nothing_new() {
    LogBatch batch;
    batch.boundary = 0;
    return batch;
}

}  // namespace

SnapshotReader::SnapshotReader(LogReaderOptions options, LogIdentity identity, ChunkSource* chunks)
    : options_(std::move(options)),
      identity_(identity),
      chunks_(chunks),
      rows_next_(options_.rows_max) {}

Result<std::unique_ptr<LogReader>> SnapshotReader::open(Connection& connection,
                                                        LogReaderOptions options,
                                                        ChunkSource* chunks) {
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(connection));
    std::unique_ptr<SnapshotReader> reader(
        new SnapshotReader(std::move(options), identity, chunks));
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(const bool made, reader->take_up_cursor(transaction));
    INSTEP_TRY(transaction.commit());
    if (made && reader->options_.start == CursorStart::kEnd) {
        INSTEP_TRY(reader->move_to_end(connection));
    }
    return reader;
}

/// Returns true if the cursor is new.
Result<bool> SnapshotReader::take_up_cursor(Transaction& transaction) {
    INSTEP_TRY(restamp_restored_log(transaction));
    // Before this transaction gets an id, which it does by writing.
    INSTEP_TRY_ASSIGN(auto rows, transaction.query("SELECT last_value FROM instep.log_seq"));
    INSTEP_TRY(rows->next());
    written_seq_ = unsigned_of(*rows, 0);
    seen_seq_ = written_seq_;
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    std::int64_t made = 0;
    if (options_.start != CursorStart::kExisting) {
        INSTEP_TRY_ASSIGN(
            made,
            transaction.execute(
                "INSERT INTO instep.cursor (reader, partition, partitions, batch, base, base_seq, "
                "moved_us) VALUES ($1, $2, $3, (SELECT coalesce(max(batch), 0) "
                "  FROM instep.cursor WHERE reader <> $1), '1:1:', 0, $4) "
                "ON CONFLICT (reader, partition) DO NOTHING",
                {std::string_view(options_.name), std::int64_t{options_.partition.index},
                 std::int64_t{options_.partition.count}, micros(now)}));
    }
    if (made == 0) {
        INSTEP_TRY(transaction.execute(
            "UPDATE instep.cursor SET moved_us = moved_us WHERE reader = $1 AND partition = $2",
            {std::string_view(options_.name), std::int64_t{options_.partition.index}}));
    }
    INSTEP_TRY(load_cursor(transaction));
    return made > 0;
}

/// The transaction that made the cursor got its id after `written_seq_` was read. Whoever a later
/// snapshot does not know has drawn its numbers later still; whoever it knows and does not see
/// may have drawn any.
Result<void> SnapshotReader::move_to_end(Connection& connection) {
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(transaction.execute(
        "UPDATE instep.cursor SET base = pg_current_snapshot(), base_seq = $3, "
        "base_waits = coalesce((SELECT string_agg(x || ':0', ',') "
        "  FROM pg_snapshot_xip(pg_current_snapshot()) x), '') "
        "WHERE reader = $1 AND partition = $2 AND base::text = '1:1:' AND open IS NULL",
        {std::string_view(options_.name), std::int64_t{options_.partition.index},
         signed_of(written_seq_)}));
    INSTEP_TRY(load_cursor(transaction));
    return transaction.commit();
}

Result<void> SnapshotReader::load_cursor(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(
        const auto row,
        transaction.query(
            "SELECT partitions, batch, base::text, base_seq, base_waits, open::text, "
            "open_seq, open_waits, open_end, after_seq, after_index, restored_end, "
            "last::text, last_seq, last_waits "
            "FROM instep.cursor WHERE reader = $1 AND partition = $2",
            {std::string_view(options_.name), std::int64_t{options_.partition.index}}));
    INSTEP_TRY_ASSIGN(const bool found, row->next());
    if (!found) {
        return cursor_is_gone(options_);
    }
    if (row->integer(0) != std::int64_t{options_.partition.count}) {
        return partitions_changed(options_.name, row->integer(0), options_.partition.count);
    }
    batch_ = unsigned_of(*row, 1);
    newest_ = batch_;
    INSTEP_TRY_ASSIGN(base_, read_horizon(*row, 2));
    open_.reset();
    if (!row->is_null(5)) {
        open_.emplace();
        INSTEP_TRY_ASSIGN(open_->horizon, read_horizon(*row, 5));
        open_->end = unsigned_of(*row, 8);
        open_->after_seq = unsigned_of(*row, 9);
        open_->after_index = static_cast<std::uint32_t>(row->integer(10));
        if (!row->is_null(11)) {
            open_->restored_end = unsigned_of(*row, 11);
        }
    }
    last_.reset();
    if (!row->is_null(12)) {
        INSTEP_TRY_ASSIGN(last_, read_horizon(*row, 12));
    }
    INSTEP_TRY_ASSIGN(identity_, log_identity(transaction.connection()));
    return {};
}

Result<LogBatch> SnapshotReader::read(Connection& connection) {
    return open_ ? continue_batch(connection) : begin_batch(connection);
}

/// The transaction's snapshot; none of the rows that it shows has a number above `seen_seq_` then.
Result<Snapshot> SnapshotReader::see(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(
        auto look, transaction.query(
                       "SELECT pg_current_snapshot()::text, s.last_value, i.incarnation, i.epoch "
                       "FROM instep.log_seq s, instep.log_identity i"));
    INSTEP_TRY(look->next());
    seen_seq_ = unsigned_of(*look, 1);
    // The reader of another partition may have begun an epoch.
    identity_ = LogIdentity{unsigned_of(*look, 2), static_cast<std::uint32_t>(look->integer(3))};
    return parse_snapshot(look->text(0));
}

/// The batch behind the base: all that is visible now, or was at the last snapshot.
Result<SnapshotReader::OpenBatch> SnapshotReader::look_ahead(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(Snapshot snapshot, see(transaction));
    if (last_) {
        return OpenBatch{*last_, last_->seq, 0, 0, std::nullopt};
    }
    return OpenBatch{base_.advance(std::move(snapshot), written_seq_), seen_seq_, 0, 0,
                     std::nullopt};
}

/// A batch ends where a snapshot was taken. So that those of a reader that is behind do not grow
/// with what it is behind by, it takes snapshots on the way, for batches to come. `newest` is the
/// batch that is being read.
Result<void> SnapshotReader::note_snapshot(Transaction& transaction, const OpenBatch& newest) {
    if (!options_.wants_boundaries || last_ || newest.restored_end) {
        return {};
    }
    INSTEP_TRY_ASSIGN(Snapshot snapshot, see(transaction));
    const OpenBatch& before = noted_.empty() ? newest : noted_.back();
    if (noted_.size() < kNotedMax && seen_seq_ >= before.end + options_.rows_max) {
        noted_.push_back({before.horizon.advance(std::move(snapshot), written_seq_), seen_seq_, 0,
                          0, std::nullopt});
    }
    return {};
}

/// Rows behind `base` and the snapshot that sees them, by one statement, which has one snapshot.
/// Chunks need a transaction around both.
Result<SnapshotReader::Look> SnapshotReader::look_for_rows(Connection& connection,
                                                           const Horizon& base) {
    // The first condition is Horizon::floor_towards() of a snapshot that only the server knows.
    static constexpr std::string_view kRows =
        "SELECT {}, (SELECT pg_current_snapshot()::text), "
        "(SELECT last_value FROM instep.log_seq), "
        "(SELECT incarnation FROM instep.log_identity), (SELECT epoch FROM instep.log_identity), "
        "(SELECT ({})::int) FROM (SELECT 1) AS one LEFT JOIN ("
        "  SELECT * FROM instep.log WHERE seq > ("
        "    SELECT least($1::bigint, min(split_part(w, ':', 2)::bigint)) "
        "    FROM unnest(string_to_array($2, ',')) AS w "
        "    WHERE pg_visible_in_snapshot(split_part(w, ':', 1)::xid8, pg_current_snapshot())) "
        "  AND NOT pg_visible_in_snapshot(xid, $3::pg_snapshot) ORDER BY seq LIMIT $4) l ON true";
    if (rows_sql_.empty()) {
        rows_sql_ = fmt::format(kRows, kPostgresLogColumns,
                                chunks_ == nullptr ? "false" : chunks_->has_chunks_sql());
    }
    const std::string waits = to_text(base.waits);
    INSTEP_TRY_ASSIGN(const auto rows,
                      connection.query(rows_sql_, std::initializer_list<ValueView>{
                                                      signed_of(base.seq), std::string_view(waits),
                                                      std::string_view(base.snapshot.text),
                                                      std::int64_t{rows_next_}}));
    INSTEP_TRY(rows->next());
    Look look;
    look.lacks_chunks = rows->integer(kLookHasChunks) != 0;
    if (look.lacks_chunks) {
        return look;
    }
    INSTEP_TRY_ASSIGN(Snapshot snapshot, parse_snapshot(rows->text(kLookSnapshot)));
    seen_seq_ = unsigned_of(*rows, kLookEnd);
    look.next = {base.advance(std::move(snapshot), written_seq_), seen_seq_, 0, 0, std::nullopt};
    // The reader of another partition may have begun an epoch.
    identity_ = LogIdentity{unsigned_of(*rows, kLookIncarnation),
                            static_cast<std::uint32_t>(rows->integer(kLookEpoch))};
    const bool has_row = !rows->is_null(kLogColumnSeq);
    INSTEP_TRY_ASSIGN(look.page, collect(*rows, has_row, look.next, batch_ + 1));
    return look;
}

/// The same with the chunks that belong behind the rows, or of the last snapshot.
Result<SnapshotReader::Look> SnapshotReader::look_for_all(Connection& connection) {
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(OpenBatch next, look_ahead(transaction));
    INSTEP_TRY_ASSIGN(Page page, read_page(transaction, next, batch_ + 1));
    if (chunks_ != nullptr && !last_) {
        const Version as_of{identity_.epoch, batch_ + 1, kChunkIndex};
        INSTEP_TRY_ASSIGN(chunks_held_, chunks_->read_chunks(transaction, as_of));
    }
    INSTEP_TRY(transaction.commit());
    return Look{std::move(next), std::move(page), false};
}

/// The next batch up to a snapshot that was noted. Chunks are as of now and stand behind all that
/// is older: where they are wanted, one batch holds it.
Result<std::optional<SnapshotReader::Look>> SnapshotReader::look_at_noted(Connection& connection) {
    if (noted_.empty()) {
        return std::nullopt;
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kRead));
    if (chunks_ != nullptr) {
        INSTEP_TRY_ASSIGN(const bool has_chunks, chunks_->has_chunks(transaction));
        if (has_chunks) {
            noted_.clear();
            return std::nullopt;
        }
    }
    OpenBatch next = std::move(noted_.front());
    noted_.pop_front();
    INSTEP_TRY(note_snapshot(transaction, next));
    INSTEP_TRY_ASSIGN(Page page, read_page(transaction, next, batch_ + 1));
    INSTEP_TRY(transaction.commit());
    return Look{std::move(next), std::move(page), false};
}

Result<LogBatch> SnapshotReader::begin_batch(Connection& connection) {
    if (last_ && base_.snapshot.text == last_->snapshot.text) {
        return nothing_new();
    }
    chunks_held_.clear();
    INSTEP_TRY_ASSIGN(auto noted, look_at_noted(connection));
    const bool is_noted = noted.has_value();
    Look look = is_noted ? *std::move(noted) : Look{};
    if (!last_ && !is_noted) {
        INSTEP_TRY_ASSIGN(look, look_for_rows(connection, base_));
    }
    if (last_ || look.lacks_chunks) {
        INSTEP_TRY_ASSIGN(look, look_for_all(connection));
    }
    const Page& page = look.page;
    if (page.batch.events.empty() && page.is_last && chunks_held_.empty() && !last_ && !is_noted &&
        may_pass_in_memory()) {
        // What is for this reader begins behind; other readers' rows need no second look.
        base_ = std::move(look.next.horizon);
        return nothing_new();
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(store_batch(transaction, base_, look.next, {}));
    return hand_out(std::move(look));
}

Result<LogBatch> SnapshotReader::advance(Connection& connection, const LogBatch& done,
                                         const std::function<Result<void>(Transaction&)>& check) {
    const bool is_plain = open_ && at_end_ && chunks_held_.empty() && !last_ &&
                          !open_->restored_end && noted_.empty();
    Look look;
    if (is_plain) {
        INSTEP_TRY_ASSIGN(look, look_for_rows(connection, open_->horizon));
    }
    const bool has_only_others = look.page.batch.events.empty() && look.page.batch.end > 0;
    if (!is_plain || look.lacks_chunks || has_only_others) {
        return LogReader::advance(connection, done, check);
    }
    const ConfirmedVersion confirmed(done, done.events.size());
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(check(transaction));
    if (look.page.batch.events.empty()) {
        INSTEP_TRY(confirm_open(transaction, confirmed.value(), After::kCommit));
        return nothing_new();
    }
    INSTEP_TRY(store_batch(transaction, open_->horizon, look.next, confirmed.value()));
    base_ = std::move(open_->horizon);
    return hand_out(std::move(look));
}

/// Once nothing more comes, what was passed is stored, so that no lag is shown for ever.
bool SnapshotReader::may_pass_in_memory() {
    if (rows_last_ > 0) {
        return ++looks_passed_ < kLooksPassedMax;
    }
    return looks_passed_ == 0;
}

/// Nothing of a batch may be handed out before its snapshot is stored for good: what it says at
/// the next reading would have other versions otherwise. Ends the transaction.
Result<void> SnapshotReader::store_batch(Transaction& transaction, const Horizon& base,
                                         const OpenBatch& next, ValueView confirmed) {
    const std::string base_waits = to_text(base.waits);
    const std::string open_waits = to_text(next.horizon.waits);
    return move_cursor(
        transaction,
        "batch = batch + 1, base = $4::pg_snapshot, base_seq = $5, base_waits = $6, "
        "open = $7::pg_snapshot, open_seq = $8, open_waits = $9, open_end = $10, after_seq = 0, "
        "after_index = 0, restored_end = NULL, confirmed = coalesce($11, confirmed), "
        "moved_us = CASE "
        "  WHEN set_config('synchronous_commit', 'on', true) = 'on' THEN $12::bigint END",
        last_ ? "" : " AND last IS NULL",
        {std::string_view(base.snapshot.text), signed_of(base.seq), std::string_view(base_waits),
         std::string_view(next.horizon.snapshot.text), signed_of(next.horizon.seq),
         std::string_view(open_waits), signed_of(next.end), confirmed},
        After::kCommit);
}

/// After its batch is stored.
Result<LogBatch> SnapshotReader::hand_out(Look look) {
    INSTEP_FAIL_POINT("log.after_open");
    ++batch_;
    looks_passed_ = 0;
    written_seq_ = seen_seq_;
    open_ = std::move(look.next);
    at_end_ = look.page.is_last;
    finish_page(look.page.batch);
    return std::move(look.page.batch);
}

Result<LogBatch> SnapshotReader::continue_batch(Connection& connection) {
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(identity_, log_identity(connection));
    INSTEP_TRY(note_snapshot(transaction, *open_));
    INSTEP_TRY_ASSIGN(Page page, read_page(transaction, *open_, batch_));
    INSTEP_TRY(transaction.commit());
    at_end_ = page.is_last;
    finish_page(page.batch);
    // The snapshot is an old one.
    page.batch.has_more = true;
    return std::move(page.batch);
}

void SnapshotReader::finish_page(LogBatch& page) {
    page.moves_cursor = true;
    page.has_more = !at_end_;
    if (at_end_ && !chunks_held_.empty()) {
        // A copy: they stay held until they are confirmed.
        append_chunks(page, chunks_held_, options_.service, identity_);
    }
    if (at_end_) {
        page.boundary = page.events.size();
    }
}

Result<std::unique_ptr<Cursor>> SnapshotReader::select_rows(Transaction& transaction,
                                                            const OpenBatch& open) {
    // In a restored log the ids of rows that came with the dump speak of another server, whose
    // snapshot the base is. Those of rows that were added since mean nothing to it, but these
    // rows have numbers above everything that it saw.
    static const std::string kRestored = fmt::format(
        "SELECT {} FROM instep.log WHERE seq > $1 AND seq <= $2 AND "
        "(seq > $5 OR NOT pg_visible_in_snapshot(xid, $3::pg_snapshot)) ORDER BY seq LIMIT $4",
        kPostgresLogColumns);
    static const std::string kPage = fmt::format(
        "SELECT {} FROM instep.log WHERE seq > $1 AND seq <= $2 "
        "AND NOT pg_visible_in_snapshot(xid, $3::pg_snapshot) "
        "AND pg_visible_in_snapshot(xid, $5::pg_snapshot) ORDER BY seq LIMIT $4",
        kPostgresLogColumns);
    const std::string_view base = base_.snapshot.text;
    const std::int64_t rows = rows_next_;
    if (open.restored_end) {
        // What is below the floor was read, also where its ids are of a server before that.
        const std::uint64_t after = std::max(base_.floor(), open.after_seq);
        return transaction.query(kRestored, {signed_of(after), signed_of(*open.restored_end), base,
                                             rows, signed_of(open.end)});
    }
    const std::uint64_t after =
        std::max(base_.floor_towards(open.horizon.snapshot), open.after_seq);
    return transaction.query(kPage, {signed_of(after), signed_of(open.end), base, rows,
                                     std::string_view(open.horizon.snapshot.text)});
}

Result<SnapshotReader::Page> SnapshotReader::read_page(Transaction& transaction,
                                                       const OpenBatch& open, std::uint64_t batch) {
    INSTEP_TRY_ASSIGN(const auto rows, select_rows(transaction, open));
    INSTEP_TRY_ASSIGN(const bool has_row, rows->next());
    return collect(*rows, has_row, open, batch);
}

/// Events of rows that begin with those of the log, from the one where `rows` stands.
Result<SnapshotReader::Page> SnapshotReader::collect(Cursor& rows, bool has_row,
                                                     const OpenBatch& open, std::uint64_t batch) {
    Page page;
    page.batch.events.reserve(rows_last_);
    page.batch.seqs.reserve(rows_last_);
    page.batch.end = open.after_seq;
    page_index_ = open.after_index;
    std::uint32_t index = page_index_;
    std::uint32_t count = 0;
    std::size_t bytes = 0;
    while (has_row && bytes <= options_.bytes_max) {
        ++count;
        page.batch.end = unsigned_of(rows, kLogColumnSeq);
        const std::string_view topic = rows.text(kLogColumnTopic);
        if (is_read_by(options_, topic, rows.text(kLogColumnKey))) {
            page.batch.seqs.push_back(page.batch.end);
            Event& event = page.batch.events
                               .emplace_back(std::string(topic),
                                             read_log_row(rows, identity_, options_.service))
                               .event;
            event.version = Version{identity_.epoch, batch, ++index};
            bytes += event.data.size();
        }
        INSTEP_TRY_ASSIGN(has_row, rows.next());
    }
    page.is_last = !has_row && count < rows_next_;
    rows_last_ = count;
    if (count > 0) {
        const std::size_t row_bytes = std::max<std::size_t>(bytes / count, 1);
        rows_next_ = static_cast<std::uint32_t>(
            std::clamp<std::size_t>(options_.bytes_max / row_bytes,
                                    std::min(kRowsMin, options_.rows_max), options_.rows_max));
    }
    return page;
}

/// `assignments` begin with parameter $4; the last of them is the time.
Result<void> SnapshotReader::move_cursor(Transaction& transaction, std::string_view assignments,
                                         std::string_view condition,
                                         std::vector<ValueView> parameters, After after) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    std::vector<ValueView> all = {std::string_view(options_.name),
                                  std::int64_t{options_.partition.index}, signed_of(batch_)};
    all.insert(all.end(), parameters.begin(), parameters.end());
    all.emplace_back(micros(now));
    const std::string sql = fmt::format(
        "UPDATE instep.cursor SET {} WHERE reader = $1 AND partition = $2 AND batch = $3{}",
        assignments, condition);
    INSTEP_TRY_ASSIGN(const std::int64_t moved, after == After::kCommit
                                                    ? transaction.commit_behind(sql, all)
                                                    : transaction.execute(sql, all));
    if (moved == 0) {
        return fail(ErrorCode::kFenced,
                    fmt::format("another reader moved the cursor {} of partition {}", options_.name,
                                options_.partition.index));
    }
    return {};
}

Result<void> SnapshotReader::confirm(Transaction& transaction, const LogBatch& batch,
                                     std::size_t count) {
    if (options_.wants_boundaries) {
        written_seq_ = seen_seq_;
    }
    const ConfirmedVersion confirmed(batch, count);
    const bool whole = count == batch.events.size();
    const bool brought_chunks = !batch.seqs.empty() && batch.seqs.back() == 0;
    if (whole && at_end_) {
        INSTEP_TRY(confirm_open(transaction, confirmed.value(), After::kGoOn));
        if (brought_chunks) {
            INSTEP_TRY(chunks_->confirm_chunks(transaction));
        }
        chunks_held_.clear();
        return {};
    }
    const auto rows = static_cast<std::uint32_t>(std::ranges::count_if(
        std::span(batch.seqs).first(count), [](auto seq) { return seq > 0; }));
    const bool all_rows = whole || batch.seqs[count] == 0;
    OpenBatch& open = *open_;
    if (all_rows || rows > 0) {
        open.after_seq = all_rows ? batch.end : batch.seqs[count - 1];
    }
    open.after_index = page_index_ + rows;
    return move_cursor(
        transaction,
        "after_seq = $4, after_index = $5, confirmed = coalesce($6, confirmed), "
        "moved_us = $7",
        "", {signed_of(open.after_seq), std::int64_t{open.after_index}, confirmed.value()},
        After::kGoOn);
}

Result<void> SnapshotReader::confirm_open(Transaction& transaction, ValueView confirmed,
                                          After after) {
    INSTEP_TRY(move_cursor(transaction,
                           "base = open, base_seq = open_seq, base_waits = open_waits, "
                           "open = NULL, open_end = coalesce(restored_end, open_end), "
                           "restored_end = NULL, confirmed = coalesce($4, confirmed), "
                           "moved_us = $5",
                           "", {confirmed}, after));
    base_ = std::move(open_->horizon);
    open_.reset();
    return {};
}

Result<Version> SnapshotReader::newest(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(transaction.connection()));
    return Version{identity.epoch, newest_, kChunkIndex};
}

Result<LogLag> snapshot_lag(Connection& connection, std::string_view reader,
                            std::string_view topic) {
    // The range is bounded by the numbers that the cursor keeps; only a transaction that has been
    // open for long makes it longer than what waits.
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query(
            "SELECT l.events, l.oldest FROM ("
            "  SELECT base, open, after_seq, past_seq, (SELECT min(mark) FROM ("
            "    SELECT base_seq AS mark UNION ALL SELECT past_seq "
            "    UNION ALL SELECT split_part(w, ':', 2)::bigint "
            "    FROM unnest(string_to_array(nullif(base_waits, ''), ',')) AS w) m) AS bottom "
            "  FROM instep.cursor WHERE reader = $1 "
            "  UNION ALL SELECT '1:1:', NULL, 0, NULL, 0 "
            "  WHERE NOT EXISTS (SELECT 1 FROM instep.cursor WHERE reader = $1)) c, "
            "LATERAL (SELECT count(*) AS events, min(time_us) AS oldest FROM ("
            "  SELECT time_us FROM instep.log WHERE seq > c.bottom "
            "  AND (seq > c.past_seq OR (NOT pg_visible_in_snapshot(xid, c.base) "
            "    AND (c.open IS NULL OR seq > c.after_seq "
            "      OR NOT pg_visible_in_snapshot(xid, c.open)))) "
            "  AND $3 IN ('', topic) "
            "  ORDER BY seq LIMIT $2) r) l ORDER BY 1 DESC LIMIT 1",
            std::initializer_list<ValueView>{reader, kLogLagMax, topic}));
    INSTEP_TRY(rows->next());
    LogLag lag{unsigned_of(*rows, 0), std::nullopt};
    if (lag.events > 0) {
        lag.oldest = Timestamp{std::chrono::microseconds{rows->integer(1)}};
    }
    return lag;
}

}  // namespace instep
