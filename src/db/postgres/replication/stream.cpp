#include "instep/db/postgres/replication/stream.hpp"

#include "byte_reader.hpp"
#include "instep/base/bytes.hpp"
#include "link.hpp"
#include "server_time.hpp"
#include "slot_name.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace instep {

namespace {

using pgoutput::Message;
using replication::Arrival;
using replication::ByteReader;
using replication::Link;
using replication::Rows;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr milliseconds kStatusIntervalMin{10};
constexpr milliseconds kIntervalMax{3'600'000};
constexpr int kVersionOfMessagesAndBinary = 140'000;

Result<void> check(const ReplicationOptions& options) {
    INSTEP_TRY(replication::check_slot_name(options.slot));
    if (options.publications.empty() ||
        std::ranges::any_of(options.publications, &std::string::empty)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("slot {}: name at least one publication", options.slot));
    }
    if (options.status_interval < kStatusIntervalMin ||
        options.silence_max < options.status_interval || options.silence_max > kIntervalMax) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("slot {}: status_interval ({} ms) must be at least {} ms and at "
                        "most silence_max ({} ms), which is at most {} ms",
                        options.slot, options.status_interval.count(), kStatusIntervalMin.count(),
                        options.silence_max.count(), kIntervalMax.count()));
    }
    return {};
}

/// `text` between two of `mark`, with those inside doubled: an identifier, or a literal of the
/// replication commands, which know no backslash.
std::string quoted(std::string_view text, char mark) {
    std::string out(1, mark);
    for (const char c : text) {
        out.append(c == mark ? 2 : 1, c);
    }
    return out + mark;
}

}  // namespace

ReplicationStream::ReplicationStream(std::unique_ptr<Link> link, ReplicationOptions options,
                                     const Clock& clock)
    : link_(std::move(link)), options_(std::move(options)), clock_(&clock) {}

ReplicationStream::~ReplicationStream() = default;

Result<std::unique_ptr<ReplicationStream>> ReplicationStream::start(ReplicationOptions options,
                                                                    Lsn from, const Clock& clock) {
    INSTEP_TRY(check(options));
    INSTEP_TRY_ASSIGN(auto connection,
                      ReplicationConnection::open(options.url, clock, options.patience));
    INSTEP_TRY_ASSIGN(SystemIdentity system, connection->identify_system());
    INSTEP_TRY_ASSIGN(const auto slot, connection->read_slot(options.slot));
    std::unique_ptr<ReplicationStream> stream(
        new ReplicationStream(std::move(connection->link_), std::move(options), clock));
    stream->system_ = std::move(system);
    INSTEP_TRY(stream->check_slot(slot, from));
    INSTEP_TRY(stream->check_publications());
    stream->confirmed_ = slot->confirmed_flush;
    stream->received_end_ = std::max(from, slot->confirmed_flush);
    INSTEP_TRY(stream->begin(from));
    return stream;
}

Result<void> ReplicationStream::check_slot(const std::optional<ReplicationSlot>& slot,
                                           Lsn from) const {
    const auto refuse = [&](ErrorCode code, std::string_view why) {
        return fail(code, fmt::format("{}: slot {} {}", link_->display(), options_.slot, why));
    };
    if (!slot) {
        return refuse(ErrorCode::kNotFound,
                      "does not exist; create it and fill the copies anew, for changes since its "
                      "end are not kept");
    }
    if (slot->plugin != "pgoutput" || slot->database != system_.database) {
        return refuse(ErrorCode::kConfigInvalid,
                      fmt::format("is of plugin \"{}\" and database \"{}\", not of pgoutput and "
                                  "\"{}\"; name another slot or database",
                                  slot->plugin, slot->database, system_.database));
    }
    if (slot->active_pid) {
        return refuse(ErrorCode::kBusy,
                      fmt::format("is in use by server process {}; stop that reader, or retry "
                                  "when it has ended",
                                  *slot->active_pid));
    }
    if (slot->wal_status == WalStatus::kLost) {
        return refuse(ErrorCode::kLimitExceeded,
                      "is lost: it fell behind by more than the server may keep "
                      "(max_slot_wal_keep_size), and changes are missing; drop it, create it "
                      "again and fill the copies anew");
    }
    if (from != Lsn{} && from < slot->confirmed_flush) {
        return refuse(ErrorCode::kConflict,
                      fmt::format("is confirmed up to {}, beyond the wanted {}: changes in between "
                                  "will not come; fill the copies anew",
                                  format_lsn(slot->confirmed_flush), format_lsn(from)));
    }
    if (from > system_.wal_end) {
        return refuse(ErrorCode::kConflict,
                      fmt::format("cannot start at {}: the server's log ends at {}, so it is "
                                  "another or a restored one; fill the copies anew",
                                  format_lsn(from), format_lsn(system_.wal_end)));
    }
    return {};
}

Result<void> ReplicationStream::check_publications() {
    std::string list;
    for (const std::string& publication : options_.publications) {
        INSTEP_TRY_ASSIGN(const std::string literal, link_->quote(publication));
        list += (list.empty() ? "" : ", ") + literal;
    }
    INSTEP_TRY_ASSIGN(
        const Rows missing,
        link_->execute(fmt::format("SELECT name FROM pg_catalog.unnest(ARRAY[{}]::text[]) AS name "
                                   "WHERE name NOT IN (SELECT pubname FROM "
                                   "pg_catalog.pg_publication)",
                                   list),
                       "reading pg_publication"));
    if (missing.count() > 0) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("{}: publication {} does not exist; create it, then drop slot {} "
                                "and create it again, for a slot does not see later publications",
                                link_->display(), missing.text(0, 0), options_.slot));
    }
    return {};
}

Result<void> ReplicationStream::begin(Lsn from) {
    const bool is_newer = link_->version() >= kVersionOfMessagesAndBinary;
    delivers_logical_messages_ = is_newer && options_.messages == LogicalMessages::kDelivered;
    if (options_.format == FieldFormat::kBinary && !is_newer) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("{}: PostgreSQL before 14 streams no binary values; use text",
                                link_->display()));
    }
    std::string names;
    for (const std::string& publication : options_.publications) {
        names += (names.empty() ? "" : ",") + quoted(publication, '"');
    }
    const std::string command = fmt::format(
        "START_REPLICATION SLOT \"{}\" LOGICAL {} (proto_version '1', "
        "publication_names {}{}{})",
        options_.slot, format_lsn(from), quoted(names, '\''),
        delivers_logical_messages_ ? ", messages 'true'" : "",
        options_.format == FieldFormat::kBinary ? ", binary 'true'" : "");
    INSTEP_TRY(link_->execute(command, fmt::format("streaming from slot {}", options_.slot)));
    heard_at_ = reported_at_ = clock_->monotonic();
    return {};
}

Result<std::optional<Message>> ReplicationStream::receive(milliseconds patience) {
    if (ended_) {
        return std::unexpected(*ended_);
    }
    const milliseconds bounded = std::clamp(patience, milliseconds{0}, kIntervalMax);
    auto taken = take(clock_->monotonic() + bounded);
    if (!taken) {
        ended_ = taken.error();
    }
    return taken;
}

Result<std::optional<Message>> ReplicationStream::take(microseconds deadline) {
    for (bool is_last = false;;) {
        INSTEP_TRY(report_if_due());
        std::string_view bytes;
        INSTEP_TRY_ASSIGN(const Arrival arrival, link_->receive(bytes));
        if (arrival == Arrival::kBytes) {
            heard_at_ = clock_->monotonic();
            asked_at_.reset();
            INSTEP_TRY_ASSIGN(auto message, read(bytes));
            if (message) {
                return message;
            }
            continue;
        }
        INSTEP_TRY(check_silence());
        if (is_last) {
            return std::nullopt;
        }
        const microseconds due = reported_at_ + options_.status_interval;
        INSTEP_TRY_ASSIGN(const auto waited, link_->wait(std::min(deadline, due)));
        is_last = waited == replication::Waited::kElapsed && deadline <= due;
    }
}

Result<void> ReplicationStream::check_silence() const {
    if (asked_at_ && clock_->monotonic() - *asked_at_ >= options_.silence_max) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{}: slot {}: the server has not answered for {} ms; start again "
                                "later",
                                link_->display(), options_.slot, options_.silence_max.count()));
    }
    return {};
}

/// https://www.postgresql.org/docs/current/protocol-replication.html: XLogData and keepalives.
Result<std::optional<Message>> ReplicationStream::read(std::string_view bytes) {
    ByteReader in(bytes);
    const std::uint8_t kind = in.u8();
    if (kind == 'k') {
        INSTEP_TRY(read_keepalive(bytes.substr(1)));
        return std::nullopt;
    }
    constexpr std::size_t kPositionsAndTime = 24;
    in.bytes(kPositionsAndTime);
    if (kind != 'w' || in.failed()) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: slot {} sent {} bytes of kind 0x{:02x} that are not of the "
                                "replication protocol",
                                link_->display(), options_.slot, bytes.size(), kind));
    }
    auto message = decoder_.decode(in.bytes(in.left()));
    if (!message) {
        return fail_in(fmt::format("{}: slot {}", link_->display(), options_.slot),
                       std::move(message.error()));
    }
    INSTEP_TRY(track(*message));
    return *message;
}

Result<void> ReplicationStream::read_keepalive(std::string_view bytes) {
    ByteReader in(bytes);
    const Lsn sent{in.u64()};
    in.u64();
    const bool wants_reply = in.u8() != 0;
    if (in.failed()) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: slot {} sent a keepalive of {} bytes", link_->display(),
                                options_.slot, bytes.size()));
    }
    // The server has decoded everything up to here. Within a transaction the caller has not yet
    // seen all that this stands for.
    if (!in_transaction_) {
        received_end_ = std::max(received_end_, sent);
    }
    return wants_reply ? report(false) : Result<void>{};
}

Result<void> ReplicationStream::track(const Message& message) {
    const bool begins = std::holds_alternative<pgoutput::Begin>(message);
    const auto* alone = std::get_if<pgoutput::LogicalMessage>(&message);
    const bool stands_alone = alone != nullptr && !alone->transactional;
    if (stands_alone ? in_transaction_ : begins == in_transaction_) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: slot {} sent a change outside of a transaction, or a "
                                "transaction within another",
                                link_->display(), options_.slot));
    }
    if (begins) {
        in_transaction_ = true;
    } else if (const auto* commit = std::get_if<pgoutput::Commit>(&message)) {
        in_transaction_ = false;
        received_end_ = std::max(received_end_, commit->end_lsn);
    } else if (stands_alone) {
        received_end_ = std::max(received_end_, alone->lsn);
    }
    return {};
}

Result<void> ReplicationStream::confirm(Lsn flushed) {
    if (flushed > received_end_) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("slot {}: {} cannot be confirmed, for only what was committed "
                                "before {} has been received",
                                options_.slot, format_lsn(flushed), format_lsn(received_end_)));
    }
    confirmed_ = std::max(confirmed_, flushed);
    return {};
}

Result<void> ReplicationStream::send_status() {
    if (ended_) {
        return std::unexpected(*ended_);
    }
    auto sent = report(false);
    if (!sent) {
        ended_ = sent.error();
    }
    return sent;
}

Result<void> ReplicationStream::report_if_due() {
    const microseconds now = clock_->monotonic();
    if (now - reported_at_ < options_.status_interval) {
        return {};
    }
    // An idle server answers only if asked; its answer shows that it lives, and moves
    // received_end().
    return report(now - heard_at_ >= options_.status_interval);
}

Result<void> ReplicationStream::report(bool wants_reply) {
    std::string status = "r";
    // Written, flushed, applied: the server must not take one for more than the others.
    for (int i = 0; i < 3; ++i) {
        append_big_endian(status, confirmed_.value);
    }
    append_big_endian(status, replication::to_server_time(clock_->now()));
    status += wants_reply ? '\1' : '\0';
    INSTEP_TRY(link_->send(status));
    reported_at_ = clock_->monotonic();
    if (wants_reply && !asked_at_) {
        asked_at_ = reported_at_;
    }
    return {};
}

}  // namespace instep
