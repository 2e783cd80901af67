#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>

namespace instep {

/// trim_log() on PostgreSQL.
Result<std::uint64_t> trim_partitions(Transaction& transaction, Timestamp before,
                                      std::uint32_t rows_max);

}  // namespace instep
