#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace instep::test {

/// A folder of its own for one test, removed with everything in it at the end.
class TempDir {
public:
    TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    ~TempDir();

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

    /// The path of `name` inside, as the string that URLs and C APIs want.
    [[nodiscard]] std::string file(std::string_view name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

}  // namespace instep::test
