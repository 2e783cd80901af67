#include "slot.hpp"

#include "instep/base/bytes.hpp"
#include "instep/db/postgres/replication/connection.hpp"
#include "instep/log/handover.hpp"
#include "instep/log/log.hpp"
#include "instep/wal/wal_reader.hpp"
#include "wal_cursor.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace wal {

namespace {

constexpr std::chrono::seconds kPatience{30};

/// The server frees a slot some time after its stream ended.
constexpr int kEndingTriesMax = 250;

}  // namespace

std::string slot_name(std::string_view service) {
    constexpr std::size_t kSizeMax = 63;
    std::string name = "instep_" + std::string(service);
    std::ranges::replace(name, '-', '_');
    if (name.size() > kSizeMax) {
        name = name.substr(0, kSizeMax - 17) + fmt::format("_{:016x}", key_hash(service));
    }
    return name;
}

Result<std::optional<Slot>> read_slot(Connection& connection, std::string_view name) {
    INSTEP_TRY_ASSIGN(
        const auto row,
        connection.query(
            "SELECT (plugin = 'pgoutput' AND database = current_database())::int, "
            "  active::int, (coalesce(wal_status, '') = 'lost' OR restart_lsn IS NULL)::int, "
            "  coalesce((confirmed_flush_lsn - '0/0')::bigint, 0), "
            "  coalesce((pg_current_wal_lsn() - restart_lsn)::bigint, 0) "
            "FROM pg_replication_slots WHERE slot_name = $1",
            std::initializer_list<ValueView>{name}));
    INSTEP_TRY_ASSIGN(const bool found, row->next());
    if (!found) {
        return std::nullopt;
    }
    return Slot{row->integer(0) != 0, row->integer(1) != 0, row->integer(2) != 0,
                static_cast<std::uint64_t>(row->integer(3)),
                static_cast<std::uint64_t>(std::max<std::int64_t>(row->integer(4), 0))};
}

Result<void> end_stream(Connection& connection, std::string_view name) {
    INSTEP_TRY(
        connection.query("SELECT pg_terminate_backend(active_pid) FROM "
                         "pg_replication_slots WHERE slot_name = $1 AND active",
                         std::initializer_list<ValueView>{name}));
    for (int tries = 0; tries < kEndingTriesMax; ++tries) {
        INSTEP_TRY_ASSIGN(const auto slot, read_slot(connection, name));
        if (!slot || !slot->is_active) {
            return {};
        }
        INSTEP_TRY(connection.query("SELECT pg_sleep(0.02)", {}));
    }
    return fail(ErrorCode::kBusy, fmt::format("slot {} is streamed from by a process that does not "
                                              "end; see pg_replication_slots",
                                              name));
}

Result<void> drop_slot(Connection& connection, std::string_view name) {
    INSTEP_TRY_ASSIGN(const auto slot, read_slot(connection, name));
    if (!slot || !slot->is_ours) {
        return {};
    }
    INSTEP_TRY(end_stream(connection, name));
    INSTEP_TRY(connection.query("SELECT pg_drop_replication_slot($1)",
                                std::initializer_list<ValueView>{name}));
    return {};
}

Result<void> make_slot(Connection& connection, std::string_view url, std::string_view name,
                       const Clock& clock) {
    INSTEP_TRY(drop_slot(connection, name));
    INSTEP_TRY_ASSIGN(const auto server, ReplicationConnection::open(url, clock, kPatience));
    INSTEP_TRY(server->create_slot(name, SnapshotExport::kNone));
    return {};
}

WalAlarm budget_alarm(std::uint64_t retained, std::uint64_t budget) {
    return retained >= budget           ? WalAlarm::kSpent
           : retained >= budget / 5 * 4 ? WalAlarm::kHigh
           : retained >= budget / 2     ? WalAlarm::kHalf
                                        : WalAlarm::kNone;
}

Result<std::uint32_t> begin_again(Connection& connection, const LogReaderOptions& log,
                                  std::span<const std::string> topics) {
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(connection, TransactionMode::kWrite));
    if (log.check_turn) {
        INSTEP_TRY(log.check_turn(transaction));
    }
    INSTEP_TRY(lock_log(transaction));
    INSTEP_TRY(end_snapshot_reading(transaction, log.name));
    // A stream cannot start behind what is flushed.
    INSTEP_TRY(connection.execute_script("SET LOCAL synchronous_commit = local"));
    INSTEP_TRY_ASSIGN(const std::uint64_t position, written_end(connection));
    INSTEP_TRY(begin_cursor(transaction, log.name, slot_name(log.service), position));
    INSTEP_TRY_ASSIGN(const std::uint32_t epoch, begin_epoch(transaction, 0));
    INSTEP_TRY(announce_epoch(transaction, log.service, topics));
    INSTEP_TRY(transaction.commit());
    return epoch;
}

}  // namespace wal

std::string_view to_string(WalAlarm alarm) noexcept {
    switch (alarm) {
        case WalAlarm::kNone:
            return "none";
        case WalAlarm::kHalf:
            return "half";
        case WalAlarm::kHigh:
            return "high";
        case WalAlarm::kSpent:
            break;
    }
    return "spent";
}

Result<std::optional<WalSlotStatus>> read_wal_slot(Connection& connection,
                                                   std::uint64_t budget_bytes) {
    auto rows = connection.query("SELECT slot, position FROM instep.wal_cursor LIMIT 1", {});
    if (!rows) {
        return rows.error().code == ErrorCode::kNotFound
                   ? Result<std::optional<WalSlotStatus>>(std::nullopt)
                   : std::unexpected(std::move(rows).error());
    }
    INSTEP_TRY_ASSIGN(const bool found, (*rows)->next());
    if (!found) {
        return std::nullopt;
    }
    WalSlotStatus status;
    status.name = (*rows)->text(0);
    status.position = static_cast<std::uint64_t>((*rows)->integer(1));
    status.state = "missing";
    status.budget_bytes = budget_bytes;
    rows->reset();
    INSTEP_TRY_ASSIGN(const auto slot, wal::read_slot(connection, status.name));
    if (slot) {
        status.retained_bytes = slot->retained_bytes;
        status.state = slot->is_lost ? "lost" : slot->is_active ? "streaming" : "waiting";
        status.alarm = wal::budget_alarm(slot->retained_bytes, budget_bytes);
    }
    return status;
}

Result<std::uint64_t> mark_wal_end(Connection& connection) {
    INSTEP_TRY_ASSIGN(const std::uint64_t end, wal::written_end(connection));
    // A standby that lags must not hold it up.
    INSTEP_TRY(connection.execute_script(
        fmt::format("SET LOCAL synchronous_commit = local; "
                    "SELECT pg_logical_emit_message(true, 'instep', repeat(' ', {}))",
                    2 * wal::kIdleBytesMin)));
    return end;
}

}  // namespace instep
