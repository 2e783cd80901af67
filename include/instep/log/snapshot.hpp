// PostgreSQL's snapshots, as far as reading the log needs to understand them.
#pragma once

#include "instep/base/error.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// A pg_snapshot: transactions before `xmax` are over but for `running`.
struct Snapshot {
    std::string text;
    std::uint64_t xmax = 0;

    /// In rising order.
    std::vector<std::uint64_t> running;

    /// True if the snapshot sees what the transaction did, should it have committed.
    [[nodiscard]] bool sees(std::uint64_t xid) const;
};

/// Reads "xmin:xmax:xid,xid,…". Errors: kCorrupt.
Result<Snapshot> parse_snapshot(std::string_view text);

/// A snapshot together with where the rows that it does not see can stand in the log.
struct Horizon {
    Snapshot snapshot;

    /// Rows of transactions that the snapshot does not know have numbers above this.
    std::uint64_t seq = 0;

    /// Rows of each transaction that was running have numbers above its own mark.
    std::map<std::uint64_t, std::uint64_t> waits;

    /// Rows that the snapshot does not see have numbers above this.
    [[nodiscard]] std::uint64_t floor() const;

    /// Rows that this snapshot does not see and `next` does have numbers above this. Unlike
    /// floor() it does not stay behind because of a transaction that is still running.
    [[nodiscard]] std::uint64_t floor_towards(const Snapshot& next) const;

    /// The horizon of a later snapshot. `seq` was read from the sequence before a transaction
    /// got its id that this later snapshot sees: so what it does not know drew its numbers later.
    [[nodiscard]] Horizon advance(Snapshot next, std::uint64_t seq) const;
};

/// The waits as they are stored: "xid:seq,xid:seq".
std::string to_text(const std::map<std::uint64_t, std::uint64_t>& waits);

/// Errors: kCorrupt.
Result<std::map<std::uint64_t, std::uint64_t>> parse_waits(std::string_view text);

}  // namespace instep
