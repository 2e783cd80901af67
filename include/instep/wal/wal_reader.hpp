// Reads a service's events from PostgreSQL's write-ahead log: changes of published tables as
// the log has them, without triggers, and what was appended to instep.log.
//
// Everything comes in commit order, once a snapshot of the log or the write-ahead log has it,
// and again with the same versions after a crash: (epoch, position of the commit, place in the
// transaction). The slot is told only of what a durable cursor has passed. A transaction of any
// size is taken in pages.
//
// Events are what capture triggers write, but: `time` is the commit's; what a request belongs to
// (correlation, causation, trace) is known of appended events only; an update that touches no
// published column is an event too, unless the table has REPLICA IDENTITY FULL; large values
// that an update left alone are left out of the data, and stay as they are in replicas. TRUNCATE
// of a published table begins a new epoch, since the log does not say which rows it removed:
// replicas are filled again.
//
// Where the slot is missing, lost, of another server, or not where the cursor stands, nothing is
// skipped silently: a new slot is made and a new epoch begins. Appended events are not lost by
// that, they stand in instep.log. The same happens, on purpose, when the server has to keep more
// of its log for the slot than the budget.
//
// Chunks and digests (ChunkSource) are read under a snapshot S and stand at a place P of the
// stream, which is found so: everything handed out so far is visible in S, or another S is taken.
// What an earlier reader may have handed out counts too, up to where the log ended at the start.
// Every transaction that S sees was committed before a mark that is written after S; so the
// stream is read up to the mark. P is in front of the first transaction with events that S does
// not see. A chunk of rows is right there: it holds all that stands before P. What it holds beyond
// stands behind P with newer versions, and a transaction behind P that S does not see touches no
// row that such a one touches, or it would have waited for it. A digest has to equal S exactly, so
// what S sees of its topic behind P is handed out in front of it, with the versions that it
// has, and once more in its place: nothing of the same keys stands in between. So writers that
// never pause put nothing off. What waits is a commit that is in the log and that nobody sees yet,
// such as one that waits for a standby: chunks and digests come when it is seen.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/database.hpp"
#include "instep/log/reader.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace instep {

class Logger;

struct WalReaderOptions {
    /// The database, as for open_postgres(); the user needs the REPLICATION attribute.
    std::string url;

    /// The service's topics, which are told of a new epoch.
    std::vector<std::string> topics{};

    /// How much of its log the server may keep for the slot, 16 MiB to 1 PiB. Larger: a longer
    /// silence is bridged, and the disk needs that much room.
    std::uint64_t budget_bytes = 4096ULL * 1024 * 1024;

    /// How often that is looked at.
    std::chrono::milliseconds heartbeat{10'000};

    /// How long read() waits for the first event. Longer: less is missed that the server is just
    /// about to send.
    std::chrono::milliseconds linger{20};

    /// How often the server is told of progress, and asked for its own, and how often the cursor
    /// moves over 64 KiB or more in which there was nothing for it.
    std::chrono::milliseconds status_interval{1000};
};

/// Opens a reader where capture from the write-ahead log is in force (apply_wal_capture()), or
/// was and is not read to its end; otherwise as LogReader::open(). What triggers wrote before is
/// read first, what they write after last. `database`, `clock` and `logger` must outlive the
/// function and its readers. Whoever streams from the slot is ended: hold the lease.
///
/// Errors of the reader, apart from those of LogReader: kConfigInvalid if the slot's name is
/// another database's; kBusy while somebody does not let go of the slot; kPermissionDenied
/// without the REPLICATION attribute.
LogReader::Open wal_reader(Database& database, WalReaderOptions options, const Clock& clock,
                           Logger& logger);

/// How much of the budget is spent: from 50 %, from 80 %, and all of it, which drops the slot.
enum class WalAlarm : std::uint8_t { kNone, kHalf, kHigh, kSpent };

/// "none", "half", "high" or "spent".
std::string_view to_string(WalAlarm alarm) noexcept;

/// A slot as the server has it.
struct WalSlotStatus {
    std::string name;

    /// What was committed before is confirmed, or was before the slot was there.
    std::uint64_t position = 0;

    /// Bytes that the server keeps for it; nothing if there is no such slot.
    std::uint64_t retained_bytes = 0;

    /// "streaming", "waiting", "lost" or "missing".
    std::string_view state;
    std::uint64_t budget_bytes = 0;
    WalAlarm alarm = WalAlarm::kNone;
};

/// Nothing while triggers capture, and on a database without the tables for it. Errors: those
/// of Connection.
Result<std::optional<WalSlotStatus>> read_wal_slot(Connection& connection,
                                                   std::uint64_t budget_bytes);

/// Where the write-ahead log ends now: what is committed is read once WalSlotStatus::position is
/// there. Writes so much into it that a reader tells soon, also of an idle database. Errors: those
/// of Connection.
Result<std::uint64_t> mark_wal_end(Connection& connection);

}  // namespace instep
