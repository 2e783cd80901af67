#pragma once

#include "instep/log/log.hpp"

#include <span>
#include <vector>

namespace instep {

/// append() on PostgreSQL, of events that were checked: one statement for all.
Result<std::vector<Appended>> append_to_postgres(Transaction& transaction,
                                                 std::span<const NewEvent> events,
                                                 ExpectedVersion expected);

/// The stream is not where the caller expected it.
std::unexpected<Error> stream_has_moved(std::string_view stream, std::uint64_t version,
                                        std::uint64_t expected);

/// Errors: kInvalidArgument unless all events are of the same stream.
Result<void> check_one_stream(std::span<const NewEvent> events);

}  // namespace instep
