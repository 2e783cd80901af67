// The folder that a demo works in: four service files, and the broker and those databases that
// are files.
#pragma once

#include "instep/base/error.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep::cli {

/// The folder, for as long as this lives: no second demo gets it meanwhile.
class DemoFolder {
public:
    /// Makes the folder, or takes one that a demo has made and clears it of the demo's files.
    /// Errors: kConflict if it holds anything else's files or a demo
    /// runs in it; kPermissionDenied, kStorageFull.
    static Result<DemoFolder> claim(const std::string& directory);
    DemoFolder(DemoFolder&& other) noexcept;
    DemoFolder& operator=(DemoFolder&&) = delete;
    ~DemoFolder();

    /// The path of a file inside, as it can be typed in a terminal.
    [[nodiscard]] std::string file(std::string_view name) const;

    /// Writes the service files, which name these databases, one each, and this broker;
    /// "embedded:" is the folder's own, "direct:" none. They are for the user's eyes alone, since a
    /// URL may hold a password. Errors: kPermissionDenied, kStorageFull.
    [[nodiscard]] Result<void> write_service_files(std::span<const std::string> databases,
                                                   std::string_view broker) const;

    /// The service files, the owner's first.
    [[nodiscard]] std::vector<std::string> service_files() const;

private:
    DemoFolder(std::string directory, int lock) : directory_(std::move(directory)), lock_(lock) {}
    Result<void> clear() const;

    std::string directory_;
    int lock_;
};

}  // namespace instep::cli
