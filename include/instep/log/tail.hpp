// A look at the log that leaves no trace: there is no cursor, so nothing is kept for whoever
// looks. For people and tools; what must not miss an event is a LogReader.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"
#include "instep/log/reader.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace instep {

/// Events in commit order, and where to go on.
struct LogSlice {
    std::vector<TopicEvent> events;

    /// The `after` of the next look.
    std::uint64_t end = 0;
};

/// The events behind `after`, at most `count`; `service` becomes their source. 0 is the
/// beginning of what the log holds. Errors: as log_identity().
Result<LogSlice> read_log(Connection& connection, std::string_view service, std::uint64_t after,
                          std::uint32_t count);

/// The `after` that shows only what is appended from now on. Errors: as log_identity().
Result<std::uint64_t> log_end(Connection& connection);

}  // namespace instep
