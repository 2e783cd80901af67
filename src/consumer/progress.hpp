// Progress and totals of a subscription, kept beside the effects they count.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/consumer/handler.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <string_view>

namespace instep {

/// Where a subscription has got to in a partition.
struct Reached {
    std::uint32_t partition = 0;

    /// 0 if it did not move.
    Position position = 0;

    /// The newest event that was dealt with; null for none.
    const Event* newest = nullptr;
};

enum class AfterProgress : std::uint8_t { kGoOn, kCommit };

/// `after` may end the transaction in the same round trip.
Result<void> add_progress(Transaction& transaction, std::string_view subscription,
                          const Reached& reached, const ApplyCounts& counts, Timestamp now,
                          AfterProgress after = AfterProgress::kGoOn);

}  // namespace instep
