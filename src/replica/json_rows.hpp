// Reads rows from the JSON of events and chunks.
#pragma once

#include "instep/base/error.hpp"
#include "instep/capture/contract.hpp"
#include "row_values.hpp"

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// What a chunk says before its rows.
struct ChunkHeader {
    std::string scan;
    std::uint32_t partition = 0;
    std::uint32_t partitions = 1;

    /// Counts the chunks of the scan in this partition, from 1.
    std::uint64_t number = 0;

    /// Key values as JSON arrays; empty where the range is open.
    std::string after;
    std::string to;

    /// No further chunk of this scan follows in this partition.
    bool last = false;

    /// Why the owner sends nothing; empty otherwise.
    std::string refused;
    std::string contract;
    std::vector<std::string> columns;
};

/// One run of rows of a digest.
struct DigestRange {
    std::string to;
    std::uint64_t rows = 0;
    std::string hash;
};

/// A digest's content; `header.columns` are what was hashed.
struct Digest {
    ChunkHeader header;

    /// Runs in key order, each behind the one before it; from kRanges scans.
    std::vector<DigestRange> ranges;

    /// True if every run is a single key; from kKeys scans.
    bool by_key = false;
};

/// Owns the parser's buffers; one a thread.
class JsonRows {
public:
    JsonRows();
    ~JsonRows();

    /// Looks the columns up in a JSON object. Values and their texts are kept in `arena`.
    /// Missing columns are false in `present` and NULL in `row`.
    ///
    /// Errors: kCorrupt for what is not an object of plain values.
    Result<void> read_object(std::string_view json, std::span<const std::string> columns,
                             ValueArena& arena, Row& row, std::vector<bool>& present);

    /// A JSON array of plain values. Errors: kCorrupt.
    Result<Row> read_array(std::string_view json, ValueArena& arena);

    /// The key values of the bounds that are not empty, those of `after` first.
    Result<Row> read_bounds(std::string_view after, std::string_view to, ValueArena& arena);

    /// Calls `row` for each row of a chunk, after `header`; stops at its first error.
    Result<void> read_chunk(std::string_view json, ValueArena& arena,
                            const std::function<Result<void>(const ChunkHeader&)>& header,
                            const std::function<Result<void>(const Row&)>& row);

    Result<Digest> read_digest(std::string_view json);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace instep
