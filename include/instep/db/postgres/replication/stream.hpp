// Committed changes as PostgreSQL streams them from a slot, in commit order, from a position
// that only the caller moves.
//
// Every transaction that commits behind the confirmed position comes whole, and comes again
// after a crash or a restart: with the same commit position, the same changes, the same order.
// Memory holds one message at a time; transactions of any size are streamed after their commit.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/postgres/replication/connection.hpp"
#include "instep/db/postgres/replication/decoder.hpp"
#include "instep/db/postgres/replication/lsn.hpp"
#include "instep/db/postgres/replication/message.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace instep {

/// The form in which values come.
enum class FieldFormat : std::uint8_t {
    kText,    ///< Text: dates in ISO order, times in UTC, floating point to the last digit.
    kBinary,  ///< Binary where the type has it, else text. PostgreSQL 14 and later.
};

/// What to do with what pg_logical_emit_message() writes.
enum class LogicalMessages : std::uint8_t {
    kDelivered,  ///< Streamed, where the server can: PostgreSQL 14 and later.
    kIgnored,    ///< Left out.
};

struct ReplicationOptions {
    /// The server and database, as for ReplicationConnection::open().
    std::string url;

    /// The slot, which create_slot() made.
    std::string slot;

    /// The publications whose tables are streamed, at least one. They must be older than the
    /// slot.
    std::vector<std::string> publications;

    /// kBinary is cheaper for the server and harder to read.
    FieldFormat format = FieldFormat::kText;

    /// kDelivered costs nothing where nobody emits messages.
    LogicalMessages messages = LogicalMessages::kDelivered;

    /// How long connecting and starting may wait for the server, 1 ms to 1 hour.
    std::chrono::milliseconds patience{30'000};

    /// receive() reports the confirmed position this often, 10 ms to 1 hour. Must be well below
    /// the server's wal_sender_timeout, which is 60 s by default. Larger: the server keeps its
    /// log for longer.
    std::chrono::milliseconds status_interval{10'000};

    /// receive() gives a server up that has not answered for this long, status_interval to
    /// 1 hour. Larger: a dead network is noticed later.
    std::chrono::milliseconds silence_max{60'000};
};

/// One reader of a slot. For one thread at a time. The caller calls receive() again within the
/// server's wal_sender_timeout, or the server ends the stream. A server that shuts down waits
/// until the stream is confirmed up to its end or ends.
class ReplicationStream {
public:
    /// Connects and lets the server begin with the first transaction that commits at or behind
    /// `from`: the end_lsn that the caller stored last, or 0 for what the slot has confirmed.
    /// `clock` must outlive the stream.
    ///
    /// Errors, apart from those of ReplicationConnection::open():
    /// - kInvalidArgument for options out of their bounds;
    /// - kNotFound if the slot or a publication does not exist;
    /// - kConfigInvalid if the slot is of another database or plugin;
    /// - kBusy, naming the process, if somebody streams from the slot;
    /// - kLimitExceeded if the slot is lost, because it fell behind by more than the server may
    ///   keep: what is missing comes from the tables only, after a new slot;
    /// - kConflict if `from` is before what the slot has confirmed, so that changes between them
    ///   will not come, or behind the server's end, because the server was restored;
    /// - kUnsupported for FieldFormat::kBinary before PostgreSQL 14.
    static Result<std::unique_ptr<ReplicationStream>> start(ReplicationOptions options, Lsn from,
                                                            const Clock& clock);

    ReplicationStream(const ReplicationStream&) = delete;
    ReplicationStream& operator=(const ReplicationStream&) = delete;

    /// Ends the stream without a last report. The server frees the slot soon after; until then
    /// start() gets kBusy.
    ~ReplicationStream();

    /// The next message, or nothing when none came within `patience`. Answers the server and
    /// reports the confirmed position meanwhile. The message's views and spans are valid until
    /// the next call.
    ///
    /// Errors, after which every call returns the same one: kUnavailable if the server is gone,
    /// silent or shuts down; kCorrupt for bytes that are not of the protocol; kNotFound if a
    /// publication does not exist at this place of the log; kLimitExceeded if the log that the
    /// slot needs is gone; kPermissionDenied.
    Result<std::optional<pgoutput::Message>> receive(std::chrono::milliseconds patience);

    /// From now on everything that was committed before `flushed` is reported as done, and will
    /// never come again. Only what the caller confirmed is ever reported. A position before
    /// confirmed() changes nothing. Errors: kInvalidArgument beyond received_end().
    Result<void> confirm(Lsn flushed);

    /// Reports the confirmed position now. Errors: as receive().
    Result<void> send_status();

    /// Every transaction that commits at or behind the start and before this position has been
    /// returned by receive(), up to its Commit. It also moves while nothing is published: whoever
    /// is done with all of the transactions so far confirms it, so that the server does not keep
    /// the log of others.
    [[nodiscard]] Lsn received_end() const noexcept { return received_end_; }

    [[nodiscard]] Lsn confirmed() const noexcept { return confirmed_; }

    /// The server as it was at the start.
    [[nodiscard]] const SystemIdentity& system() const noexcept { return system_; }

    /// False if LogicalMessages::kDelivered was asked for and the server cannot.
    [[nodiscard]] bool delivers_logical_messages() const noexcept {
        return delivers_logical_messages_;
    }

private:
    ReplicationStream(std::unique_ptr<replication::Link> link, ReplicationOptions options,
                      const Clock& clock);
    Result<void> check_slot(const std::optional<ReplicationSlot>& slot, Lsn from) const;
    Result<void> check_publications();
    Result<void> begin(Lsn from);
    Result<std::optional<pgoutput::Message>> take(std::chrono::microseconds deadline);
    Result<std::optional<pgoutput::Message>> read(std::string_view bytes);
    Result<void> read_keepalive(std::string_view bytes);
    Result<void> track(const pgoutput::Message& message);
    Result<void> check_silence() const;
    Result<void> report_if_due();
    Result<void> report(bool wants_reply);

    std::unique_ptr<replication::Link> link_;
    ReplicationOptions options_;
    const Clock* clock_;
    SystemIdentity system_;
    pgoutput::Decoder decoder_;
    std::optional<Error> ended_;
    Lsn received_end_;
    Lsn confirmed_;
    std::chrono::microseconds heard_at_{0};
    std::chrono::microseconds reported_at_{0};
    std::optional<std::chrono::microseconds> asked_at_;
    bool in_transaction_ = false;
    bool delivers_logical_messages_ = false;
};

}  // namespace instep
