#pragma once

#include "open_database.hpp"

#include <string>

namespace instep::sqlite {

/// Copies a database's write-ahead log back into its file when the log has become long.
///
/// SQLite before 3.51.3 loses commits if three things meet: a checkpoint has copied the whole
/// log; another one starts; a writer starts the log over while that runs. run() must therefore
/// be called while another connection of the caller holds the write lock: then no writer can.
class Checkpointer {
public:
    /// `database` must outlive the object and the handle that it opens at the first run().
    Checkpointer(std::string path, const OpenDatabase& database);

    /// Watches the commits of `handle`, which must not outlive this object, in the place of
    /// SQLite's automatic checkpoints.
    void watch(sqlite3* handle) noexcept;

    /// True if the log is long enough, or has grown as much again since the last run().
    [[nodiscard]] bool due() const noexcept { return log_pages_ >= due_at_pages_; }

    /// True if the log has become so long that writers should wait for the checkpoint.
    [[nodiscard]] bool urgent() const noexcept;

    /// Copies what no reader needs any more. If that fails, the log stays as long as it is,
    /// nothing is lost, and the next run() tries again.
    void run();

private:
    void commit_left(int log_pages) noexcept;

    std::string path_;
    const OpenDatabase* database_;
    Handle handle_;
    int log_pages_ = 0;
    int due_at_pages_;
};

}  // namespace instep::sqlite
