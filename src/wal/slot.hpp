// The replication slot of a service.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/log/reader.hpp"
#include "instep/wal/wal_reader.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace instep::wal {

/// An idle reader does not write its cursor for less than this: that would be written, too.
inline constexpr std::uint64_t kIdleBytesMin = 64U * 1024;

/// What the slot and the publication of a service are called.
std::string slot_name(std::string_view service);

/// A slot as pg_replication_slots has it.
struct Slot {
    /// It is of this database and of pgoutput.
    bool is_ours = false;
    bool is_active = false;
    bool is_lost = false;
    std::uint64_t confirmed = 0;
    std::uint64_t retained_bytes = 0;
};

Result<std::optional<Slot>> read_slot(Connection& connection, std::string_view name);

/// Ends whoever streams from the slot. Errors: those of Connection.
Result<void> end_stream(Connection& connection, std::string_view name);

/// No effect if there is none. Errors: kBusy while it is streamed from.
Result<void> drop_slot(Connection& connection, std::string_view name);

/// Creates the slot anew. Errors: kConflict if it is another database's; those of
/// ReplicationConnection::create_slot().
Result<void> make_slot(Connection& connection, std::string_view url, std::string_view name,
                       const Clock& clock);

WalAlarm budget_alarm(std::uint64_t retained, std::uint64_t budget);

/// A new epoch: everything that was not read from the write-ahead log is asked for again. The
/// slot goes on behind what is committed now. Errors: those of Connection, and of
/// end_snapshot_reading(); what `log.check_turn` says.
Result<std::uint32_t> begin_again(Connection& connection, const LogReaderOptions& log,
                                  std::span<const std::string> topics);

}  // namespace instep::wal
