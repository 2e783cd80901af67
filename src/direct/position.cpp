#include "position.hpp"

#include "instep/log/cursors.hpp"
#include "instep/log/rewind.hpp"

#include <algorithm>

namespace instep::direct {

Position position_of(const Version& version, const Dialect& dialect) {
    const bool is_of_the_past = version.epoch == 0;
    if (!counts_snapshots(dialect) || is_of_the_past) {
        return position_of_seq(version.batch) + (version.index == kChunkIndex ? 1 : 0);
    }
    constexpr unsigned kIndexBits = 24;
    constexpr Position kLast = (Position{1} << kIndexBits) - 1;
    return (version.batch << kIndexBits) +
           (version.index == kChunkIndex ? kLast : std::min<Position>(version.index, kLast - 1));
}

Result<Position> acknowledged_by(Connection& connection, std::string_view reader) {
    INSTEP_TRY_ASSIGN(const auto rewound, rewound_to(connection, reader));
    if (rewound) {
        return position_of_seq(*rewound);
    }
    INSTEP_TRY_ASSIGN(const auto confirmed, last_confirmed(connection, reader));
    return confirmed ? position_of(*confirmed, connection.dialect()) : 0;
}

}  // namespace instep::direct
