#include "text_file.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace instep {

namespace {

struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
};

std::unexpected<Error> failure(const std::string& path, int system_error) {
    const std::string message =
        fmt::format("{} cannot be read: {}", path, std::strerror(system_error));
    switch (system_error) {
        case ENOENT:
        case ENOTDIR:
            return fail(ErrorCode::kNotFound, message);
        case EACCES:
        case EPERM:
            return fail(ErrorCode::kPermissionDenied, message);
        case EISDIR:
            return fail(ErrorCode::kConfigInvalid,
                        fmt::format("{} is a directory; name a file", path));
        default:
            return fail(ErrorCode::kUnavailable, message);
    }
}

}  // namespace

Result<std::string> read_text_file(const std::string& path, std::size_t bytes_max) {
    const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rbe"));
    if (file == nullptr) {
        return failure(path, errno);
    }
    std::string text(bytes_max + 1, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    if (std::ferror(file.get()) != 0) {
        return failure(path, errno);
    }
    if (text.size() > bytes_max) {
        return fail(
            ErrorCode::kConfigInvalid,
            fmt::format("{} is larger than {} KiB; name a text file", path, bytes_max / 1024));
    }
    return text;
}

}  // namespace instep
