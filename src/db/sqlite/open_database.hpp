// An open handle of the C library, and its failures as ours.
#pragma once

#include "instep/base/error.hpp"

#include <sqlite3.h>

#include <expected>
#include <memory>
#include <string>
#include <string_view>

namespace instep::sqlite {

struct CloseHandle {
    void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
};
using Handle = std::unique_ptr<sqlite3, CloseHandle>;

/// A handle and the name that messages call it by. Does not own the handle.
struct OpenDatabase {
    sqlite3* handle = nullptr;
    std::string display_url;

    /// What the handle's last call, which returned `code`, failed with.
    [[nodiscard]] std::unexpected<Error> failure(int code, std::string_view sql = {}) const;
};

/// Opens `path` with `flags`. Errors: as Database::connect().
Result<Handle> open_handle(const std::string& path, int flags, std::string_view display_url);

}  // namespace instep::sqlite
