#include "position.hpp"

#include <algorithm>

namespace instep::direct {

Position position_of(const Version& version, const Dialect& dialect) {
    if (dialect.name() != "postgres") {
        return position_of_seq(version.batch) + (version.index == kChunkIndex ? 1 : 0);
    }
    constexpr unsigned kIndexBits = 24;
    constexpr Position kLast = (Position{1} << kIndexBits) - 1;
    return (version.batch << kIndexBits) +
           (version.index == kChunkIndex ? kLast : std::min<Position>(version.index, kLast - 1));
}

}  // namespace instep::direct
