// Reads once more what a cursor on PostgreSQL has passed, after it was taken back.
#pragma once

#include "instep/log/reader.hpp"
#include "instep/log/snapshot.hpp"

#include <cstdint>
#include <memory>
#include <optional>

namespace instep {

/// The snapshots that the events were first read by are forgotten. What the cursor's base sees is
/// one set of rows, though, and stays that set as long as the cursor does not move: it is read in
/// sequence order, which is commit order for each key. Then the cursor goes on where it stood.
///
/// Versions are of epoch 0: they rise, and are older than that of any event which is read for the
/// first time.
class PastReader final : public LogReader {
public:
    /// `present`, which reads on from where the cursor stands; or, if it was taken back, a reader
    /// that reads the past before.
    static Result<std::unique_ptr<LogReader>> before(std::unique_ptr<LogReader> present,
                                                     Connection& connection,
                                                     const LogReaderOptions& options);

    Result<LogBatch> read(Connection& connection) override;
    Result<void> confirm(Transaction& transaction, const LogBatch& batch,
                         std::size_t count) override;
    Result<LogBatch> advance(Connection& connection, const LogBatch& done,
                             const std::function<Result<void>(Transaction&)>& check) override;
    Result<Version> newest(Transaction& transaction) override;

private:
    /// Which rows were read: where the cursor stood when it was taken back.
    struct Passed {
        Horizon base;
        std::string open;
        std::uint64_t open_after = 0;
        std::uint64_t end = 0;
    };

    PastReader(std::unique_ptr<LogReader> present, LogReaderOptions options, Passed passed,
               std::uint64_t past_seq);
    Result<std::unique_ptr<Cursor>> select_rows(Transaction& transaction) const;
    Result<void> move(Transaction& transaction, std::optional<std::uint64_t> past_seq);

    const std::unique_ptr<LogReader> present_;
    const LogReaderOptions options_;
    const Passed passed_;

    /// Nothing once the past is over.
    std::optional<std::uint64_t> past_seq_;

    /// The last page that was read ends it.
    bool at_end_ = false;
};

}  // namespace instep
