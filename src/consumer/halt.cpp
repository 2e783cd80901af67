#include "instep/consumer/halt.hpp"

#include "instep/consumer/consumer_options.hpp"
#include "instep/consumer/dead_letters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace instep {

namespace {

constexpr std::array kKinds = {HaltKind::kPaused, HaltKind::kCircuitOpen, HaltKind::kFailedEvent,
                               HaltKind::kParkedLimit};

Timestamp time_of(std::int64_t micros) { return Timestamp{std::chrono::microseconds{micros}}; }

}  // namespace

std::string_view to_string(OnFailure policy) noexcept {
    switch (policy) {
        case OnFailure::kBlockKey:
            return "block_key";
        case OnFailure::kSkip:
            return "skip";
        case OnFailure::kStopFlow:
            return "stop_flow";
    }
    return "block_key";
}

std::string_view to_string(HaltKind kind) noexcept {
    switch (kind) {
        case HaltKind::kPaused:
            return "paused";
        case HaltKind::kCircuitOpen:
            return "circuit_open";
        case HaltKind::kFailedEvent:
            return "failed_event";
        case HaltKind::kParkedLimit:
            return "parked_limit";
    }
    return "paused";
}

Result<HaltKind> parse_halt_kind(std::string_view text) {
    const auto* const kind =
        std::ranges::find(kKinds, text, [](HaltKind of) { return to_string(of); });
    if (kind == kKinds.end()) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is no kind of halt", text));
    }
    return *kind;
}

Result<void> pause_subscription(Transaction& transaction, std::string_view subscription,
                                const Operator& by) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_subscription (subscription, paused_us, paused_by, pause_reason) "
        "VALUES ($1, $2, $3, $4) ON CONFLICT (subscription) DO UPDATE SET "
        "paused_us = coalesce(instep_subscription.paused_us, excluded.paused_us), "
        "paused_by = excluded.paused_by, pause_reason = excluded.pause_reason",
        {subscription, std::int64_t{now.time_since_epoch().count()}, std::string_view(by.who),
         std::string_view(by.reason)}));
    return {};
}

Result<bool> resume_subscription(Transaction& transaction, std::string_view subscription) {
    INSTEP_TRY_ASSIGN(const std::int64_t resumed,
                      transaction.execute("UPDATE instep_subscription SET paused_us = NULL "
                                          "WHERE subscription = $1 AND paused_us IS NOT NULL",
                                          {subscription}));
    return resumed > 0;
}

Result<std::vector<SubscriptionHalt>> list_halts(Connection& connection) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query(
            "SELECT subscription, NULL, 'paused', 'paused by ' || paused_by || CASE WHEN "
            "pause_reason = '' THEN '' ELSE ': ' || pause_reason END, paused_us "
            "FROM instep_subscription WHERE paused_us IS NOT NULL UNION ALL "
            "SELECT subscription, partition, kind, reason, since_us FROM instep_halt "
            "ORDER BY 1, 2",
            {}));
    std::vector<SubscriptionHalt> halts;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return halts;
        }
        auto kind = parse_halt_kind(rows->text(2));
        if (!kind) {
            return fail(ErrorCode::kCorrupt,
                        fmt::format("table instep_halt: {}", kind.error().message));
        }
        SubscriptionHalt& next = halts.emplace_back(
            SubscriptionHalt{std::string(rows->text(0)), std::nullopt,
                             Halt{*kind, std::string(rows->text(3)), time_of(rows->integer(4))}});
        if (!rows->is_null(1)) {
            next.partition = static_cast<std::uint32_t>(rows->integer(1));
        }
    }
}

}  // namespace instep
