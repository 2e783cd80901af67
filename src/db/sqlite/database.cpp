#include "instep/db/sqlite/database.hpp"

#include "connection.hpp"

#include <fmt/format.h>

#include <atomic>
#include <utility>

namespace instep {

namespace {

using sqlite::Handle;
using sqlite::open_handle;
using sqlite::SqliteConnection;

class FileDatabase final : public Database {
public:
    FileDatabase(std::string path, const Clock& clock, SqliteOptions options)
        : path_(std::move(path)),
          display_url_("sqlite:" + path_),
          clock_(&clock),
          options_(options) {}

    Result<std::unique_ptr<Connection>> connect(ConnectOptions options) override {
        INSTEP_TRY(check(options));
        // A relative path that looks like a URI must stay a path.
        const std::string path = path_.starts_with("file:") ? "./" + path_ : path_;
        const int create = options_.create == SqliteCreate::kIfMissing ? SQLITE_OPEN_CREATE : 0;
        INSTEP_TRY_ASSIGN(Handle handle, open_handle(path, create, display_url_));
        return SqliteConnection::configure(std::move(handle), path, display_url_, options, *clock_);
    }

    [[nodiscard]] std::string_view display_url() const override { return display_url_; }

private:
    std::string path_;
    std::string display_url_;
    const Clock* clock_;
    SqliteOptions options_;
};

/// Kept alive by a connection that nobody uses.
class MemoryDatabase final : public Database {
public:
    static Result<std::unique_ptr<Database>> open(const Clock& clock) {
        static std::atomic<std::uint64_t> opened{0};
        std::string uri = fmt::format("file:/instep-memory-{}?vfs=memdb", ++opened);
        INSTEP_TRY_ASSIGN(Handle keeper, open_handle(uri, kFlags, kDisplayUrl));
        return std::make_unique<MemoryDatabase>(std::move(uri), std::move(keeper), clock);
    }

    MemoryDatabase(std::string uri, Handle keeper, const Clock& clock)
        : uri_(std::move(uri)), keeper_(std::move(keeper)), clock_(&clock) {}

    Result<std::unique_ptr<Connection>> connect(ConnectOptions options) override {
        INSTEP_TRY(check(options));
        INSTEP_TRY_ASSIGN(Handle handle, open_handle(uri_, kFlags, kDisplayUrl));
        return SqliteConnection::configure(std::move(handle), std::nullopt,
                                           std::string(kDisplayUrl), options, *clock_);
    }

    [[nodiscard]] std::string_view display_url() const override { return kDisplayUrl; }

private:
    static constexpr int kFlags = SQLITE_OPEN_URI | SQLITE_OPEN_CREATE;
    static constexpr std::string_view kDisplayUrl = "sqlite::memory:";

    std::string uri_;
    Handle keeper_;
    const Clock* clock_;
};

}  // namespace

Result<std::unique_ptr<Database>> open_sqlite(std::string_view path_or_url, const Clock& clock,
                                              SqliteOptions options) {
    std::string_view path = path_or_url;
    if (path.starts_with("sqlite:")) {
        path.remove_prefix(std::string_view("sqlite:").size());
        if (path.starts_with("///")) {
            path.remove_prefix(2);
        }
    }
    if (path.empty() || path == ":memory:" || path.find("://") != std::string_view::npos ||
        path.starts_with("//") || path.find('\0') != std::string_view::npos) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" names no SQLite file; write sqlite:PATH or "
                                "sqlite:///ABSOLUTE/PATH",
                                path_or_url));
    }
    return std::make_unique<FileDatabase>(std::string(path), clock, options);
}

Result<std::unique_ptr<Database>> open_sqlite_in_memory(const Clock& clock) {
    return MemoryDatabase::open(clock);
}

Result<std::unique_ptr<Connection>> adopt_sqlite(sqlite3* handle, const Clock& clock) {
    if (handle == nullptr) {
        return fail(ErrorCode::kInvalidArgument, "there is no SQLite handle to adopt");
    }
    const char* path = sqlite3_db_filename(handle, "main");
    return std::make_unique<SqliteConnection>(
        handle, fmt::format("sqlite:{}", path == nullptr ? "" : path), clock);
}

}  // namespace instep
