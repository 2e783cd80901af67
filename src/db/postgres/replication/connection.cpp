#include "instep/db/postgres/replication/connection.hpp"

#include "link.hpp"
#include "slot_name.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace instep {

namespace {

using replication::check_slot_name;
using replication::Link;
using replication::Rows;

template <class Number>
Result<Number> number(const Link& link, std::string_view what, const std::string& text) {
    Number value{};
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: the server gave \"{}\" as {}", link.display(), text, what));
    }
    return value;
}

Result<Lsn> position(const Rows& rows, int column) {
    const auto text = rows.at(0, column);
    return text ? parse_lsn(*text) : Lsn{};
}

WalStatus wal_status(std::string_view word) {
    if (word == "reserved") {
        return WalStatus::kReserved;
    }
    if (word == "extended") {
        return WalStatus::kExtended;
    }
    if (word == "unreserved") {
        return WalStatus::kUnreserved;
    }
    return word == "lost" ? WalStatus::kLost : WalStatus::kUnknown;
}

Result<void> check_shape(const Link& link, const Rows& rows, int columns) {
    if (rows.count() != 1 || PQnfields(rows.handle()) < columns) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: the server answered with {} rows of {} columns, not with one "
                                "of {}",
                                link.display(), rows.count(), PQnfields(rows.handle()), columns));
    }
    return {};
}

}  // namespace

ReplicationConnection::ReplicationConnection(std::unique_ptr<Link> link) : link_(std::move(link)) {}
ReplicationConnection::~ReplicationConnection() = default;

Result<std::unique_ptr<ReplicationConnection>> ReplicationConnection::open(
    std::string_view url, const Clock& clock, std::chrono::milliseconds patience) {
    INSTEP_TRY_ASSIGN(auto link, Link::connect(url, clock, patience));
    return std::unique_ptr<ReplicationConnection>(new ReplicationConnection(std::move(link)));
}

Result<SystemIdentity> ReplicationConnection::identify_system() {
    constexpr std::string_view kWhat = "IDENTIFY_SYSTEM";
    INSTEP_TRY_ASSIGN(const Rows rows, link_->execute("IDENTIFY_SYSTEM", kWhat));
    INSTEP_TRY(check_shape(*link_, rows, 4));
    SystemIdentity system;
    INSTEP_TRY_ASSIGN(system.system_id, number<std::uint64_t>(*link_, kWhat, rows.text(0, 0)));
    INSTEP_TRY_ASSIGN(system.timeline, number<std::uint32_t>(*link_, kWhat, rows.text(0, 1)));
    INSTEP_TRY_ASSIGN(system.wal_end, position(rows, 2));
    system.database = rows.text(0, 3);
    return system;
}

Result<std::optional<ReplicationSlot>> ReplicationConnection::read_slot(std::string_view name) {
    INSTEP_TRY(check_slot_name(name));
    INSTEP_TRY_ASSIGN(
        const Rows rows,
        link_->execute(fmt::format("SELECT slot_name, plugin, database, active_pid, "
                                   "confirmed_flush_lsn, restart_lsn, wal_status, safe_wal_size "
                                   "FROM pg_catalog.pg_replication_slots WHERE slot_name = '{}'",
                                   name),
                       "reading pg_replication_slots"));
    if (rows.count() == 0) {
        return std::nullopt;
    }
    INSTEP_TRY(check_shape(*link_, rows, 8));
    ReplicationSlot slot{.name = rows.text(0, 0),
                         .plugin = rows.text(0, 1),
                         .database = rows.text(0, 2),
                         .active_pid = std::nullopt,
                         .confirmed_flush = {},
                         .restart = {},
                         .wal_status = wal_status(rows.text(0, 6)),
                         .safe_wal_bytes = std::nullopt};
    if (const auto pid = rows.at(0, 3)) {
        INSTEP_TRY_ASSIGN(slot.active_pid, number<std::int32_t>(*link_, "active_pid", *pid));
    }
    INSTEP_TRY_ASSIGN(slot.confirmed_flush, position(rows, 4));
    INSTEP_TRY_ASSIGN(slot.restart, position(rows, 5));
    if (const auto bytes = rows.at(0, 7)) {
        INSTEP_TRY_ASSIGN(slot.safe_wal_bytes,
                          number<std::int64_t>(*link_, "safe_wal_size", *bytes));
    }
    return slot;
}

Result<CreatedSlot> ReplicationConnection::create_slot(std::string_view name,
                                                       SnapshotExport snapshot) {
    INSTEP_TRY(check_slot_name(name));
    INSTEP_TRY_ASSIGN(const Rows level, link_->execute("SHOW wal_level", "reading wal_level"));
    if (level.text(0, 0) != "logical") {
        return fail(ErrorCode::kConfigInvalid,
                    fmt::format("{}: wal_level is {}; set wal_level = logical and restart the "
                                "server",
                                link_->display(), level.text(0, 0)));
    }
    const bool exports = snapshot == SnapshotExport::kExported;
    INSTEP_TRY_ASSIGN(
        const Rows rows,
        link_->execute(fmt::format("CREATE_REPLICATION_SLOT \"{}\" LOGICAL pgoutput {}", name,
                                   exports ? "EXPORT_SNAPSHOT" : "NOEXPORT_SNAPSHOT"),
                       fmt::format("creating slot {}, which waits for the end of older "
                                   "transactions,",
                                   name)));
    INSTEP_TRY(check_shape(*link_, rows, 4));
    CreatedSlot slot;
    INSTEP_TRY_ASSIGN(slot.consistent_point, position(rows, 1));
    slot.snapshot = rows.text(0, 2);
    return slot;
}

Result<void> ReplicationConnection::drop_slot(std::string_view name) {
    INSTEP_TRY_ASSIGN(const auto slot, read_slot(name));
    if (!slot) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("{}: there is no slot {} to drop", link_->display(), name));
    }
    INSTEP_TRY(link_->execute(fmt::format("DROP_REPLICATION_SLOT \"{}\"", name),
                              fmt::format("dropping slot {}", name)));
    return {};
}

}  // namespace instep
