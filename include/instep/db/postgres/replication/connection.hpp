// Replication slots: the places in PostgreSQL's write-ahead log from which the server keeps
// everything for one reader. For PostgreSQL 13 and later, with wal_level = logical.
//
// A slot that nobody reads makes the server keep its log without end, unless
// max_slot_wal_keep_size is set; then the slot is lost when it falls too far behind.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/postgres/replication/lsn.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace instep {

namespace replication {
class Link;
}  // namespace replication

/// Which history positions belong to. Where one of them differs from what was stored with a
/// position, that position means nothing.
struct SystemIdentity {
    /// Made with the cluster's files; a physical copy or a restored backup has the same.
    std::uint64_t system_id = 0;

    /// Rises when a standby is promoted or a backup is restored to a point in time.
    std::uint32_t timeline = 0;
    std::string database;

    /// How far the log is written.
    Lsn wal_end;
};

/// What the server still has of the log that a slot needs.
enum class WalStatus : std::uint8_t {
    kReserved,    ///< All of it, within max_wal_size.
    kExtended,    ///< All of it, beyond max_wal_size.
    kUnreserved,  ///< The next checkpoint may remove some, which loses the slot.
    kLost,        ///< Not all of it: the slot cannot be read again.
    kUnknown,     ///< The server has not said, or uses another word.
};

/// A slot as the server has it.
struct ReplicationSlot {
    std::string name;

    /// Empty for a physical slot, as is `database`.
    std::string plugin;
    std::string database;

    /// The server process that streams from it now.
    std::optional<std::int32_t> active_pid;

    /// Everything that was committed before it is confirmed; 0 if the slot has none.
    Lsn confirmed_flush;

    /// The oldest log that is kept for the slot; 0 for a lost one.
    Lsn restart;
    WalStatus wal_status = WalStatus::kUnknown;

    /// How many bytes can be written before the slot may be lost, negative where it may be
    /// already; nothing if there is no limit.
    std::optional<std::int64_t> safe_wal_bytes;
};

/// Whether create_slot() lets others see the database as of the slot's first position.
enum class SnapshotExport : std::uint8_t { kNone, kExported };

/// A new slot's beginning.
struct CreatedSlot {
    /// Every transaction that commits behind it will be streamed, and none before.
    Lsn consistent_point;

    /// For SET TRANSACTION SNAPSHOT in a REPEATABLE READ transaction: shows exactly what was
    /// committed before consistent_point. Valid until the next call on the connection or its
    /// end, for those who have imported it until they end. Empty with SnapshotExport::kNone.
    std::string snapshot;
};

/// A connection that administers slots and streams nothing. For one thread at a time. When it
/// has failed with kUnavailable, open another one.
class ReplicationConnection {
public:
    /// `url` is a connection string of libpq: "postgresql://user@host/database" or "key=value …";
    /// the user needs the REPLICATION attribute. Connecting and each call wait for the server
    /// at most `patience`, 1 ms to 1 hour. `clock` must outlive the connection.
    ///
    /// Errors: kInvalidArgument for a connection string that cannot be read; kNotFound if the
    /// database does not exist; kPermissionDenied; kUnsupported before PostgreSQL 13;
    /// kUnavailable; kTimeout. No message holds the password.
    static Result<std::unique_ptr<ReplicationConnection>> open(std::string_view url,
                                                               const Clock& clock,
                                                               std::chrono::milliseconds patience);

    ReplicationConnection(const ReplicationConnection&) = delete;
    ReplicationConnection& operator=(const ReplicationConnection&) = delete;
    ~ReplicationConnection();

    /// Errors: kUnavailable, kTimeout, as everywhere below.
    Result<SystemIdentity> identify_system();

    /// Nothing if there is no such slot. Errors: kInvalidArgument for a name that no slot can
    /// have: 1 to 63 of a-z, 0-9 and "_".
    Result<std::optional<ReplicationSlot>> read_slot(std::string_view name);

    /// A slot for pgoutput in the connection's database. Waits for the end of every transaction
    /// that was writing when it began. The publications that will be streamed must exist before:
    /// the server looks for them in the past.
    ///
    /// Errors: kInvalidArgument as above; kConflict if the slot exists; kTimeout when older
    /// transactions went on for longer than `patience`, and then there is no slot;
    /// kConfigInvalid if wal_level is not logical; kLimitExceeded if max_replication_slots are
    /// in use; kPermissionDenied.
    Result<CreatedSlot> create_slot(std::string_view name, SnapshotExport snapshot);

    /// Lets the server remove the log that it kept for the slot. Errors: kInvalidArgument as
    /// above; kNotFound; kBusy, naming the process, if the slot is being streamed from.
    Result<void> drop_slot(std::string_view name);

private:
    friend class ReplicationStream;
    explicit ReplicationConnection(std::unique_ptr<replication::Link> link);

    std::unique_ptr<replication::Link> link_;
};

}  // namespace instep
