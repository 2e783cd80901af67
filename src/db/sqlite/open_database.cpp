#include "open_database.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace instep::sqlite {

namespace {

constexpr std::size_t kSqlShownMax = 200;

/// What a failure is to our callers, and what they can do.
struct Meaning {
    ErrorCode code;
    std::string_view advice;
};

constexpr std::string_view kLetWrite = "; let this user write the file and its directory";

Meaning meaning_of(int code, std::string_view message) {
    switch (code & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return {ErrorCode::kBusy, "; another connection uses it, retry later"};
        case SQLITE_FULL:
            return {ErrorCode::kStorageFull, "; free space, then retry"};
        case SQLITE_NOTADB:
        case SQLITE_CORRUPT:
            return {ErrorCode::kCorrupt, "; check the path, or restore the file from a backup"};
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_AUTH:
            return {ErrorCode::kPermissionDenied, kLetWrite};
        case SQLITE_CONSTRAINT:
        case SQLITE_MISMATCH:
            return {ErrorCode::kRejected, ""};
        case SQLITE_TOOBIG:
            return {ErrorCode::kLimitExceeded, ""};
        case SQLITE_INTERRUPT:
        case SQLITE_ABORT:
            return {ErrorCode::kClosed, ""};
        case SQLITE_RANGE:
        case SQLITE_MISUSE:
            return {ErrorCode::kInvalidArgument, ""};
        case SQLITE_ERROR:
            if (message.starts_with("no such table")) {
                return {ErrorCode::kNotFound, ""};
            }
            return {ErrorCode::kInvalidArgument, ""};
        default:
            return {ErrorCode::kUnavailable, "; check the disk"};
    }
}

bool has_directory(const std::filesystem::path& file) {
    std::error_code ignored;
    return std::filesystem::is_directory(std::filesystem::absolute(file, ignored).parent_path(),
                                         ignored);
}

/// Why the file could not be opened, by what the operating system said.
std::unexpected<Error> open_failure(int system_error, int code, const std::string& path,
                                    std::string_view display_url) {
    const std::string_view reason = std::strerror(system_error);
    switch (system_error) {
        case ENOENT:
        case ENOTDIR:
            return fail(ErrorCode::kNotFound,
                        fmt::format("{} does not exist; check the path{}", display_url,
                                    has_directory(path) ? "" : " and create its directory"));
        case EACCES:
        case EPERM:
        case EROFS:
            return fail(ErrorCode::kPermissionDenied,
                        fmt::format("{} cannot be opened: {}{}", display_url, reason, kLetWrite));
        case EISDIR:
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("{} is a directory; name a file", display_url));
        default:
            return fail(ErrorCode::kUnavailable,
                        fmt::format("{} cannot be opened: {}", display_url,
                                    system_error == 0 ? sqlite3_errstr(code) : reason));
    }
}

}  // namespace

std::unexpected<Error> OpenDatabase::failure(int code, std::string_view sql) const {
    const std::string_view message = sqlite3_errmsg(handle);
    const Meaning meaning = meaning_of(code, message);
    std::string text = fmt::format("{}: {}{}", display_url, message, meaning.advice);
    if (!sql.empty()) {
        text += fmt::format(" (in \"{}\"{})", sql.substr(0, kSqlShownMax),
                            sql.size() > kSqlShownMax ? "…" : "");
    }
    return fail(meaning.code, std::move(text));
}

Result<Handle> open_handle(const std::string& path, int flags, std::string_view display_url) {
    sqlite3* raw = nullptr;
    const int code = sqlite3_open_v2(path.c_str(), &raw,
                                     flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
    Handle handle(raw);
    if (code != SQLITE_OK) {
        return open_failure(raw == nullptr ? 0 : sqlite3_system_errno(raw), code, path,
                            display_url);
    }
    sqlite3_extended_result_codes(raw, 1);
    return handle;
}

}  // namespace instep::sqlite
