#include "broker_homes.hpp"

#include "instep/db/dialect.hpp"
#include "instep/lease/lease.hpp"
#include "instep/telemetry/redact.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace instep {

namespace {

constexpr std::array kStages = {MoveStage::kPrepared, MoveStage::kPublishing, MoveStage::kMoved};

Result<std::optional<BrokerMove>> read_move(Connection& connection, std::string_view lock) {
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query(
            fmt::format("SELECT old_broker, new_broker, stage FROM instep_broker_move{}", lock),
            {}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return std::nullopt;
    }
    const auto stage = std::ranges::find_if(
        kStages, [&](MoveStage known) { return to_string(known) == rows->text(2); });
    if (stage == kStages.end()) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("table instep_broker_move has the unknown stage \"{}\"; use a "
                                "newer program",
                                rows->text(2)));
    }
    return BrokerMove{std::string(rows->text(0)), std::string(rows->text(1)), *stage};
}

bool publishes_to_new(std::optional<MoveStage> stage) {
    return stage == MoveStage::kPublishing || stage == MoveStage::kMoved;
}

bool reads_new(std::optional<MoveStage> stage) { return stage == MoveStage::kMoved; }

/// Holds as long as `uses_new` says the same of the stage in the transaction.
std::function<Result<void>(Transaction&)> unchanged(const ServiceConfig& service,
                                                    bool (*uses_new)(std::optional<MoveStage>),
                                                    const BrokerHomes& homes) {
    return [&service, uses_new,
            known = uses_new(homes.stage)](Transaction& transaction) -> Result<void> {
        // Locked, so that the service goes on only when this transaction has ended, and then
        // revokes the lease that it takes.
        INSTEP_TRY_ASSIGN(
            const auto move,
            read_move(transaction.connection(), transaction.dialect().row_lock(RowLock::kShared)));
        const bool counts = move && move->old_broker == redact_url(service.broker);
        if (uses_new(counts ? std::optional(move->stage) : std::nullopt) != known) {
            return fail(ErrorCode::kFenced,
                        fmt::format("service {} was moved to another broker", service.name));
        }
        return {};
    };
}

}  // namespace

std::string_view to_string(MoveStage stage) noexcept {
    switch (stage) {
        case MoveStage::kPrepared:
            return "prepared";
        case MoveStage::kPublishing:
            return "publishing";
        case MoveStage::kMoved:
            return "moved";
    }
    return "unknown";
}

Result<std::optional<BrokerMove>> read_broker_move(Connection& connection) {
    return read_move(connection, "");
}

Result<std::optional<BrokerMove>> move_that_counts(Connection& connection,
                                                   const ServiceConfig& service) {
    INSTEP_TRY_ASSIGN(auto move, read_broker_move(connection));
    if (!move || move->old_broker == redact_url(service.broker)) {
        return move;
    }
    if (move->stage != MoveStage::kMoved) {
        return fail(ErrorCode::kConfigInvalid,
                    fmt::format("service {} is on its way from {} to {}, and {} names neither "
                                "the first nor waits for the end; put broker = \"{}\" back until "
                                "`instep migrate-broker` has ended",
                                service.name, move->old_broker, redact_url(move->new_broker),
                                service.path, move->old_broker));
    }
    return std::nullopt;
}

Result<BrokerHomes> find_homes(Connection& connection, const ServiceConfig& service) {
    BrokerHomes homes{service.broker, service.broker, std::nullopt};
    INSTEP_TRY_ASSIGN(const auto move, move_that_counts(connection, service));
    if (!move) {
        return homes;
    }
    homes.stage = move->stage;
    if (publishes_to_new(homes.stage)) {
        INSTEP_TRY_ASSIGN(homes.publishes_to, resolve_url(move->new_broker, process_environment()));
    }
    if (reads_new(homes.stage)) {
        homes.reads_from = homes.publishes_to;
    }
    return homes;
}

Result<bool> has_gone_on(Connection& connection, const ServiceConfig& service,
                         const BrokerHomes& homes) {
    INSTEP_TRY_ASSIGN(const auto move, move_that_counts(connection, service));
    std::optional<MoveStage> stage;
    if (move) {
        stage = move->stage;
    }
    return publishes_to_new(stage) != publishes_to_new(homes.stage) ||
           reads_new(stage) != reads_new(homes.stage);
}

std::function<Result<void>(Transaction&)> still_publishes(const ServiceConfig& service,
                                                          const BrokerHomes& homes) {
    return unchanged(service, &publishes_to_new, homes);
}

std::function<Result<void>(Transaction&)> still_reads(const ServiceConfig& service,
                                                      const BrokerHomes& homes) {
    return unchanged(service, &reads_new, homes);
}

Result<void> set_stage(Transaction& transaction, MoveStage from, MoveStage to) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_broker_move SET stage = $1, moved_us = $2 WHERE stage = $3",
        {to_string(to), std::int64_t{now.time_since_epoch().count()}, to_string(from)}));
    return revoke_leases(transaction);
}

Result<void> begin_move(Transaction& transaction, const BrokerMove& move) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_broker_move (only_row, old_broker, new_broker, stage, moved_us) "
        "VALUES (1, $1, $2, $3, $4) ON CONFLICT (only_row) DO UPDATE SET "
        "old_broker = excluded.old_broker, new_broker = excluded.new_broker, "
        "stage = excluded.stage, moved_us = excluded.moved_us",
        {std::string_view(move.old_broker), std::string_view(move.new_broker),
         to_string(move.stage), std::int64_t{now.time_since_epoch().count()}}));
    return {};
}

}  // namespace instep
