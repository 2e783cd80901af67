// Progress and totals of a subscription, kept beside the effects they count.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/consumer/handler.hpp"
#include "instep/db/connection.hpp"

#include <string_view>

namespace instep {

Result<void> add_progress(Transaction& transaction, std::string_view subscription,
                          std::uint32_t partition, Position position, const ApplyCounts& counts,
                          Timestamp now);

}  // namespace instep
