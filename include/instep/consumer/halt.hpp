// Why a subscription takes no events although there may be some, and pausing it by hand.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

struct Operator;

/// What keeps a subscription from taking events. It keeps its partitions, and its position.
enum class HaltKind : std::uint8_t {
    kPaused,       ///< Somebody paused it. Parked keys are not tried either.
    kCircuitOpen,  ///< The handler's target was down too often. Parked keys are not tried either.
    kFailedEvent,  ///< It stands at an event that failed (OnFailure::kStopFlow).
    kParkedLimit,  ///< As much is parked as may be.
};

/// "paused", "circuit_open", "failed_event" or "parked_limit".
std::string_view to_string(HaltKind kind) noexcept;

/// Errors: kInvalidArgument for another word.
Result<HaltKind> parse_halt_kind(std::string_view text);

/// One sentence for an operator, and since when.
struct Halt {
    HaltKind kind;
    std::string reason;
    Timestamp since{};

    friend bool operator==(const Halt&, const Halt&) = default;
};

/// A halt as the consumer's database has it.
struct SubscriptionHalt {
    std::string subscription;

    /// The one whose holder says so; nothing for all of them.
    std::optional<std::uint32_t> partition;
    Halt halt;
};

/// Lets every member of the subscription stop taking events within a second, after the batch that
/// is under way, until it is resumed; also members that start later. The last call tells who and
/// why. Errors: those of Connection.
Result<void> pause_subscription(Transaction& transaction, std::string_view subscription,
                                const Operator& by);

/// Returns whether it was paused. Errors: those of Connection.
Result<bool> resume_subscription(Transaction& transaction, std::string_view subscription);

/// All halts, by subscription; other than kPaused as the holder of the partition last said, who may
/// have ended since. Errors: kCorrupt; those of Connection.
Result<std::vector<SubscriptionHalt>> list_halts(Connection& connection);

}  // namespace instep
