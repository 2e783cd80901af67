// Where an event stands in its key's history. Versions of one key compare as their commits
// did; a replica applies what is newer and ignores the rest, so duplicates, late events and
// overlapping backfills do no harm.
#pragma once

#include "instep/base/error.hpp"

#include <compare>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace instep {

/// Compared field by field, in this order.
struct Version {
    /// Rises, from 1, when the source was restored or replaced: what follows wins. 0: rewind.hpp.
    std::uint32_t epoch = 0;

    /// Commit order within the epoch: the log sequence number on SQLite.
    std::uint64_t batch = 0;

    /// Order within the batch.
    std::uint32_t index = 0;

    friend auto operator<=>(const Version&, const Version&) = default;
};

/// The index of a chunk: it stands behind every event of its batch.
inline constexpr std::uint32_t kChunkIndex = std::numeric_limits<std::uint32_t>::max();

/// The `sequence` attribute, zero-padded so that it sorts as text:
/// "0000000001.00000000000000000042.0000000000".
std::string to_sequence(const Version& version);

/// Errors: kInvalidArgument if `text` is not the output of to_sequence().
Result<Version> parse_sequence(std::string_view text);

/// Sixteen bytes that sort as versions do, for storing beside a row.
std::string to_bytes(const Version& version);

/// Errors: kCorrupt if `bytes` is not sixteen bytes long.
Result<Version> version_from_bytes(std::string_view bytes);

}  // namespace instep
