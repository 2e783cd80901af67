#pragma once

#include "instep/log/reader.hpp"

#include <cstdint>
#include <deque>
#include <memory>

namespace instep {

/// Reads where sequence order is commit order: on SQLite.
class SequenceReader final : public LogReader {
public:
    static Result<std::unique_ptr<LogReader>> open(Connection& connection, LogReaderOptions options,
                                                   ChunkSource* chunks);
    SequenceReader(LogReaderOptions options, LogIdentity identity, std::uint64_t position,
                   ChunkSource* chunks);

    Result<LogBatch> read(Connection& connection) override;
    Result<void> confirm(Transaction& transaction, const LogBatch& batch,
                         std::size_t count) override;
    Result<Version> newest(Transaction& transaction) override;

private:
    /// Returns true if the log held nothing more.
    Result<bool> read_rows(Transaction& snapshot, LogBatch& batch);
    Result<void> find_boundary(Transaction& snapshot, LogBatch& batch, bool at_head);

    const LogReaderOptions options_;
    LogIdentity identity_;
    std::uint64_t position_;

    /// Where the log ended in snapshots that showed more than a page: no transaction stands across
    /// such an end. Rising; those ahead of the position.
    std::deque<std::uint64_t> ends_;
    ChunkSource* chunks_;
};

Result<LogLag> sequence_lag(Connection& connection, std::string_view reader,
                            std::string_view topic);

}  // namespace instep
