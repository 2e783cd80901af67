#include "checkpointer.hpp"

#include <utility>

namespace instep::sqlite {

namespace {

/// 16 MiB of pages. Four times SQLite's default makes upserts over wide key ranges half as fast
/// again, and a checkpoint stalls the committing connection for some 20 ms.
constexpr int kLogPages = 4000;
constexpr int kUrgentLogPages = 8 * kLogPages;

}  // namespace

Checkpointer::Checkpointer(std::string path, const OpenDatabase& database)
    : path_(std::move(path)), database_(&database), due_at_pages_(kLogPages) {}

void Checkpointer::watch(sqlite3* handle) noexcept {
    sqlite3_wal_hook(
        handle,
        [](void* self, sqlite3*, const char*, int log_pages) {
            static_cast<Checkpointer*>(self)->commit_left(log_pages);
            return SQLITE_OK;
        },
        this);
}

bool Checkpointer::urgent() const noexcept { return log_pages_ >= kUrgentLogPages; }

void Checkpointer::commit_left(int log_pages) noexcept {
    if (log_pages < log_pages_) {
        due_at_pages_ = kLogPages;
    }
    log_pages_ = log_pages;
}

void Checkpointer::run() {
    if (!handle_) {
        auto opened = open_handle(path_, 0, database_->display_url);
        if (!opened) {
            return;
        }
        // A checkpoint does nothing on a handle that has not read the file yet.
        if (sqlite3_exec(opened->get(), "PRAGMA schema_version", nullptr, nullptr, nullptr) !=
            SQLITE_OK) {
            return;
        }
        handle_ = std::move(*opened);
    }
    sqlite3_wal_checkpoint_v2(handle_.get(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    due_at_pages_ = log_pages_ + kLogPages;
}

}  // namespace instep::sqlite
