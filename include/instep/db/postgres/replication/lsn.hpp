// Positions in PostgreSQL's write-ahead log.
#pragma once

#include "instep/base/error.hpp"

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace instep {

/// A byte position in one server's write-ahead log. Later is larger; 0 is no position.
/// Positions of different servers or timelines cannot be compared: see SystemIdentity.
struct Lsn {
    std::uint64_t value = 0;

    friend auto operator<=>(const Lsn&, const Lsn&) = default;
};

/// As PostgreSQL writes it: "0/16B3748".
std::string format_lsn(Lsn lsn);

/// Reads what PostgreSQL or format_lsn() wrote, in either case. Errors: kInvalidArgument.
Result<Lsn> parse_lsn(std::string_view text);

}  // namespace instep
