#include "wal_reader.hpp"

#include "instep/base/fail_point.hpp"
#include "instep/log/handover.hpp"
#include "instep/log/restored_log.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace wal {

namespace {

using std::chrono::milliseconds;

/// Between cursor moves that wait for the disk, so that the slot may follow.
constexpr milliseconds kFlushEvery{1000};

/// After so many tries whoever streams from the slot is ended; the lease is ours.
constexpr int kPatientTries = 10;
constexpr int kTriesMax = 100;

/// Readers that may come to their end within one read().
constexpr int kTurnsMax = 5;

/// The slot cannot bring what is missing.
bool is_gap(ErrorCode code) {
    return code == ErrorCode::kNotFound || code == ErrorCode::kLimitExceeded ||
           code == ErrorCode::kConflict;
}

}  // namespace

WalReader::WalReader(LogReaderOptions log, WalReaderOptions options,
                     std::unique_ptr<Connection> aside, ChunkSource* chunks, const Clock& clock,
                     Logger& logger)
    : log_(std::move(log)),
      options_(std::move(options)),
      aside_(std::move(aside)),
      chunks_(chunks),
      clock_(clock),
      logger_(logger),
      budget_due_(clock.monotonic()) {}

Result<void> WalReader::open(Connection& connection) {
    {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(connection, TransactionMode::kWrite));
        INSTEP_TRY(restamp_restored_log(transaction));
        INSTEP_TRY(transaction.commit());
    }
    inner_.reset();
    intake_.reset();
    INSTEP_TRY_ASSIGN(const auto cursor, load_cursor(connection, log_.name));
    is_after_ = !cursor;
    if (is_after_) {
        INSTEP_TRY_ASSIGN(inner_, LogReader::open(connection, log_, chunks_));
        return {};
    }
    INSTEP_TRY_ASSIGN(const bool ended, snapshot_reading_has_ended(connection, log_.name));
    if (!ended && !cursor->ends) {
        INSTEP_TRY_ASSIGN(inner_, LogReader::open(connection, log_, nullptr));
    }
    return {};
}

Result<LogBatch> WalReader::read(Connection& connection) {
    for (int turns = 0; turns < kTurnsMax; ++turns) {
        if (inner_ != nullptr) {
            INSTEP_TRY_ASSIGN(LogBatch batch, read_by_snapshot(connection));
            if (inner_ != nullptr) {
                return batch;
            }
        }
        if (is_outstanding_) {
            // What was handed out and not confirmed comes again.
            intake_.reset();
        }
        if (intake_ == nullptr) {
            INSTEP_TRY(start_stream(connection));
            if (intake_ == nullptr) {
                continue;
            }
        }
        auto batch = read_stream(connection);
        if (!batch) {
            intake_.reset();
            return std::unexpected(std::move(batch).error());
        }
        if (*batch) {
            return **std::move(batch);
        }
    }
    return LogBatch{};
}

Result<LogBatch> WalReader::read_by_snapshot(Connection& connection) {
    INSTEP_TRY_ASSIGN(LogBatch batch, inner_->read(connection));
    if (!is_after_ && batch.events.empty() && !batch.moves_cursor) {
        INSTEP_TRY_ASSIGN(const bool ended, snapshot_reading_has_ended(connection, log_.name));
        if (ended) {
            inner_.reset();
        }
    }
    return batch;
}

Result<void> WalReader::start_stream(Connection& connection) {
    is_outstanding_ = false;
    INSTEP_TRY_ASSIGN(auto cursor, load_cursor(connection, log_.name));
    if (!cursor) {
        return open(connection);
    }
    cursor_ = *std::move(cursor);
    emitted_ = cursor_.unseen;
    end_ = cursor_.place;
    durable_ = 0;
    had_events_ = cursor_.place.part_lsn != 0;
    INSTEP_TRY_ASSIGN(identity_, log_identity(connection));
    INSTEP_TRY_ASSIGN(const ServerIdentity server, server_identity(connection));
    if (server != cursor_.server) {
        return start_again(connection, "the server or the database is another one");
    }
    auto started = start_intake(connection);
    if (!started && is_gap(started.error().code)) {
        return start_again(connection, started.error().message);
    }
    INSTEP_TRY(started);
    INSTEP_TRY_ASSIGN(maybe_emitted_, written_end(connection));
    intake_ = *std::move(started);
    INSTEP_FAIL_POINT("wal.after_start");
    return {};
}

Result<std::unique_ptr<Intake>> WalReader::start_intake(Connection& connection) {
    IntakeOptions options;
    options.service = log_.service;
    options.stream.url = options_.url;
    options.stream.slot = cursor_.slot;
    options.stream.publications = {cursor_.slot};
    options.stream.status_interval = options_.status_interval;
    options.from = cursor_.place;
    options.ends = cursor_.ends;
    for (int tries = 0;; ++tries) {
        auto started = Intake::start(options, *aside_, clock_);
        if (started || started.error().code != ErrorCode::kBusy || tries == kTriesMax) {
            return started;
        }
        if (tries == kPatientTries) {
            INSTEP_TRY(check_turn(connection));
            logger_.warn("wal.stream_taken_over", {{"slot", cursor_.slot}});
            INSTEP_TRY(end_stream(connection, cursor_.slot));
        }
        INSTEP_TRY(connection.query("SELECT pg_sleep(0.02)", {}));
    }
}

/// Never from now on and nothing said: what is missing is in the tables, and replicas read it
/// there once they learn of the epoch.
Result<void> WalReader::start_again(Connection& connection, std::string_view why) {
    // A reader that was paused finds the slot ahead of what it remembers of the cursor.
    INSTEP_TRY(check_turn(connection));
    logger_.error("wal.slot_cannot_go_on", {{"slot", cursor_.slot}, {"reason", why}});
    INSTEP_TRY(make_slot(connection, options_.url, cursor_.slot, clock_));
    INSTEP_FAIL_POINT("wal.after_new_slot");
    INSTEP_TRY_ASSIGN(const std::uint32_t epoch, begin_again(connection, log_, options_.topics));
    logger_.error("wal.begun_again",
                  {{"slot", cursor_.slot},
                   {"new_epoch", static_cast<std::int64_t>(epoch)},
                   {"advice", "changes may be missing; replicas are filled again"}});
    return open(connection);
}

Result<void> WalReader::check_turn(Connection& connection) const {
    if (!log_.check_turn) {
        return {};
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(log_.check_turn(transaction));
    return transaction.commit();
}

/// Triggers have taken over, and all that came before them is confirmed.
Result<void> WalReader::finish(Connection& connection) {
    INSTEP_TRY(check_turn(connection));
    intake_.reset();
    INSTEP_TRY(drop_slot(connection, cursor_.slot));
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY(connection.execute_script(
        fmt::format("DROP PUBLICATION IF EXISTS {}", connection.dialect().quote(cursor_.slot))));
    INSTEP_TRY(remove_cursor(transaction, log_.name));
    INSTEP_TRY(transaction.commit());
    logger_.info("wal.ended", {{"slot", cursor_.slot}});
    return open(connection);
}

bool WalReader::is_at_rest() const {
    return intake_->queue().empty() && !intake_->is_in_transaction();
}

/// Nothing if it is no longer this stream's turn.
Result<std::optional<LogBatch>> WalReader::read_stream(Connection& connection) {
    if (durable_ > 0) {
        INSTEP_TRY(intake_->acknowledge(durable_));
        INSTEP_FAIL_POINT("wal.after_acknowledge");
    }
    INSTEP_TRY(mind_budget(connection));
    if (intake_ == nullptr) {
        return std::nullopt;
    }
    if (has_passed_end(cursor_.place)) {
        INSTEP_TRY(finish(connection));
        return std::nullopt;
    }
    LogBatch batch;
    places_.clear();
    end_ = cursor_.place;
    bool at_end = false;
    for (bool again = true; again;) {
        INSTEP_TRY_ASSIGN(at_end, fill(batch));
        again = false;
        if (!at_end && batch.events.empty()) {
            INSTEP_TRY_ASSIGN(again, heed_truncate(connection));
        }
    }
    if (is_at_rest() && !had_events_) {
        batch.boundary = batch.events.size();
    }
    if (at_end && is_at_rest() && chunks_ != nullptr && !cursor_.ends) {
        INSTEP_TRY(add_chunks(connection, batch));
    }
    INSTEP_TRY_ASSIGN(const bool goes_on, look_at_state(connection, batch));
    if (!goes_on) {
        intake_.reset();
        return std::nullopt;
    }
    if (is_at_rest()) {
        end_ = Place{std::max(end_.position, intake_->received_end()), 0, 0};
    }
    INSTEP_TRY(mark_log(connection));
    batch.moves_cursor = !batch.events.empty() || is_move_due();
    is_outstanding_ = batch.moves_cursor;
    return batch;
}

/// Hands out what there is, up to a batch; true if there is no more now.
Result<bool> WalReader::fill(LogBatch& batch) {
    std::size_t bytes = 0;
    milliseconds patience = options_.linger;
    while (batch.events.size() < log_.rows_max && bytes <= log_.bytes_max) {
        auto& queue = intake_->queue();
        if (has_passed_end(end_)) {
            return true;
        }
        if (queue.empty()) {
            INSTEP_TRY_ASSIGN(const bool came, intake_->pull(patience));
            if (!came) {
                return !intake_->is_in_transaction();
            }
            continue;
        }
        if (queue.front().kind == Item::Kind::kTruncate) {
            return false;
        }
        bytes += queue.front().event.event.data.size();
        take_front(batch);
        patience = milliseconds{0};
    }
    return false;
}

void WalReader::take_front(LogBatch& batch) {
    Item item = std::move(intake_->queue().front());
    intake_->queue().pop_front();
    end_ = item.after;
    if (item.kind == Item::Kind::kCommit) {
        batch.boundary = batch.events.size();
        if (had_events_) {
            emitted_.push_back(item.xid);
        }
        had_events_ = false;
        return;
    }
    had_events_ = true;
    has_logged_ = has_logged_ || item.is_logged;
    places_.push_back(item.after);
    batch.seqs.push_back(item.commit_lsn);
    batch.events.push_back(std::move(item.event));
}

/// Everything in front of it is confirmed. Which rows it removed is not in the log, so replicas
/// are filled again. Returns true if it did anything.
Result<bool> WalReader::heed_truncate(Connection& connection) {
    if (intake_->queue().empty() || intake_->queue().front().kind != Item::Kind::kTruncate) {
        return false;
    }
    const Item& item = intake_->queue().front();
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(const std::uint32_t epoch, begin_epoch(transaction, 0));
    INSTEP_TRY(announce_epoch(transaction, log_.service, options_.topics));
    INSTEP_TRY(move_cursor(
        transaction, CursorMove{log_.name, cursor_.place, item.after, emitted_, Flush::kAtOnce}));
    INSTEP_TRY(transaction.commit());
    logger_.warn("wal.table_truncated", {{"table", item.table},
                                         {"new_epoch", static_cast<std::int64_t>(epoch)},
                                         {"advice", "replicas are filled again"}});
    cursor_.place = end_ = item.after;
    had_events_ = true;
    intake_->queue().pop_front();
    return true;
}

/// Stamps the epoch. False if capture ends meanwhile: then the stream is taken anew, up to there.
/// A change that comes behind the end was made after the end was visible, so it is seen here.
Result<bool> WalReader::look_at_state(Connection& connection, LogBatch& batch) {
    INSTEP_TRY_ASSIGN(
        const auto row,
        connection.query("SELECT i.incarnation, i.epoch, c.ends, c.reader IS NULL "
                         "FROM instep.log_identity i LEFT JOIN instep.wal_cursor c "
                         "ON c.reader = $1",
                         std::initializer_list<ValueView>{std::string_view(log_.name)}));
    INSTEP_TRY(row->next());
    identity_ = LogIdentity{static_cast<std::uint64_t>(row->integer(0)),
                            static_cast<std::uint32_t>(row->integer(1))};
    const bool ends_now = !row->is_null(2) && !cursor_.ends;
    for (TopicEvent& next : batch.events) {
        next.event.version.epoch = identity_.epoch;
    }
    return !ends_now && row->integer(3) == 0;
}

/// True if all that stands before the end of capture from this log is before the place: commits
/// come in their order.
bool WalReader::has_passed_end(const Place& place) const {
    return cursor_.ends && place.position >= *cursor_.ends;
}

bool WalReader::is_move_due() const {
    if (has_passed_end(end_)) {
        return true;
    }
    if (!is_at_rest()) {
        return false;
    }
    const std::uint64_t here = cursor_.place.position;
    const std::uint64_t reached = end_.position;
    const bool passes_mark = log_mark_ && reached >= log_mark_->end && !cursor_.ends;
    const bool is_idle_move = reached >= here + kIdleBytesMin && clock_.monotonic() >= move_due_;
    return passes_mark || is_idle_move;
}

Result<void> WalReader::confirm(Transaction& transaction, const LogBatch& batch,
                                std::size_t count) {
    if (inner_ != nullptr) {
        return inner_->confirm(transaction, batch, count);
    }
    const bool whole = count == batch.events.size();
    const bool events_done = whole || batch.seqs[count] == 0;
    const Place to = events_done ? end_ : count == 0 ? cursor_.place : places_[count - 1];
    const auto now = clock_.monotonic();
    const bool flushes = batch.events.empty() || now >= flush_due_;
    INSTEP_FAIL_POINT("wal.before_move");
    INSTEP_TRY_ASSIGN(
        emitted_, move_cursor(transaction, CursorMove{log_.name, cursor_.place, to, emitted_,
                                                      flushes ? Flush::kAtOnce : Flush::kLater}));
    INSTEP_FAIL_POINT("wal.after_move");
    if (whole && !batch.seqs.empty() && batch.seqs.back() == 0) {
        INSTEP_TRY(chunks_->confirm_chunks(transaction));
    }
    if (log_mark_ && to.position >= log_mark_->end && !cursor_.ends) {
        INSTEP_TRY(pass_in_log(transaction, log_.name, log_mark_->seen, log_mark_->seq));
        log_mark_.reset();
    }
    cursor_.place = to;
    is_outstanding_ = !events_done;
    move_due_ = now + options_.status_interval;
    if (flushes) {
        flush_due_ = now + kFlushEvery;
        durable_ = to.position;
    }
    return {};
}

Result<Version> WalReader::newest(Transaction& transaction) {
    INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(transaction.connection()));
    if (is_after_) {
        return inner_->newest(transaction);
    }
    INSTEP_TRY_ASSIGN(const std::uint64_t end, written_end(transaction.connection()));
    return Version{identity.epoch, end, kChunkIndex};
}

/// Remembers how far the log will have been read when the stream has got to its present end, so
/// that it can be trimmed.
Result<void> WalReader::mark_log(Connection& connection) {
    const auto now = clock_.monotonic();
    if (!has_logged_ || log_mark_ || cursor_.ends || now < mark_due_) {
        return {};
    }
    LogMark mark;
    INSTEP_TRY_ASSIGN(const auto seq,
                      connection.query("SELECT last_value FROM instep.log_seq", {}));
    INSTEP_TRY(seq->next());
    mark.seq = static_cast<std::uint64_t>(seq->integer(0));
    INSTEP_TRY_ASSIGN(const auto seen, connection.query("SELECT pg_current_snapshot()::text", {}));
    INSTEP_TRY(seen->next());
    INSTEP_TRY_ASSIGN(mark.seen, parse_snapshot(seen->text(0)));
    INSTEP_TRY_ASSIGN(mark.end, written_end(connection));
    log_mark_ = std::move(mark);
    has_logged_ = false;
    mark_due_ = now + kFlushEvery;
    return {};
}

Result<void> WalReader::mind_budget(Connection& connection) {
    const auto now = clock_.monotonic();
    if (now < budget_due_) {
        return {};
    }
    budget_due_ = now + options_.heartbeat;
    INSTEP_TRY_ASSIGN(const auto slot, read_slot(connection, cursor_.slot));
    const std::uint64_t retained = slot ? slot->retained_bytes : 0;
    const WalAlarm alarm = budget_alarm(retained, options_.budget_bytes);
    const LogFields fields = {{"slot", cursor_.slot},
                              {"retained_bytes", static_cast<std::int64_t>(retained)},
                              {"budget_bytes", static_cast<std::int64_t>(options_.budget_bytes)}};
    if (alarm == WalAlarm::kHalf && alarm != alarm_) {
        logger_.warn("wal.budget_half_spent", fields);
    } else if (alarm == WalAlarm::kHigh && alarm != alarm_) {
        logger_.error("wal.budget_nearly_spent", fields);
    } else if (alarm == WalAlarm::kSpent) {
        INSTEP_TRY(check_turn(connection));
        logger_.error("wal.budget_spent", fields);
        intake_.reset();
        INSTEP_TRY(drop_slot(connection, cursor_.slot));
    }
    alarm_ = alarm;
    return {};
}

}  // namespace wal

LogReader::Open wal_reader(Database& database, WalReaderOptions options, const Clock& clock,
                           Logger& logger) {
    return [&database, options = std::move(options), &clock, &logger](
               Connection& connection, LogReaderOptions log,
               ChunkSource* chunks) -> Result<std::unique_ptr<LogReader>> {
        INSTEP_TRY_ASSIGN(const auto cursor, wal::load_cursor(connection, log.name));
        if (!cursor) {
            return LogReader::open(connection, std::move(log), chunks);
        }
        INSTEP_TRY_ASSIGN(auto aside, database.connect());
        auto reader = std::make_unique<wal::WalReader>(std::move(log), options, std::move(aside),
                                                       chunks, clock, logger);
        INSTEP_TRY(reader->open(connection));
        return reader;
    };
}

}  // namespace instep
