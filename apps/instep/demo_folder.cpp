#include "demo_folder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace instep::cli {

namespace {

/// Tells a demo's folder from others, and is locked while a demo runs in it.
constexpr std::string_view kMarker = ".instep-demo";

/// Without a broker: the others read iam's log.
constexpr std::string_view kDirect = "direct:";

struct TextFile {
    std::string_view name;
    std::string_view text;
};

constexpr std::array kServiceFiles = {
    TextFile{"iam.toml",
             R"(# iam owns the users. A change to one of the columns below goes into its log, in the
# transaction that makes it, by triggers, and from there to the other services.
[service]
name = "iam"
database = "{}"
broker = "{}"

# Only these columns leave the service. users.password_hash and users.mfa_secret are not among
# them, and neither is any column that is added later.
[[publish]]
table = "users"
entity = "user"  # user.created, user.updated and user.deleted, on the topic iam.user
key = "id"
columns = [
    "id", "employee_id", "employee_code", "national_id", "username",
    "title", "first_name", "last_name", "email", "phone",
    "department_id", "position", "employee_type", "profile_image_url", "gender",
    "is_active", "created_at", "updated_at", "is_deleted",
]
personal = [
    "national_id", "title", "first_name", "last_name", "email", "phone", "profile_image_url",
    "gender",
]
)"},
    TextFile{"data_owner.toml",
             R"(# data-owner has resources, and joins them with lookup_users to show who made them:
#   select r.reference_number, u.first_name, u.last_name, u.email
#     from resources r left join lookup_users u on u.id = r.created_by;
[service]
name = "data-owner"
database = "{}"
broker = "{}"

[[replica]]
topic = "iam.user"
table = "lookup_users"  # all columns that iam publishes, under their names
)"},
    TextFile{"processing.toml", R"(# processing holds a copy of the users of its own.
[service]
name = "processing"
database = "{}"
broker = "{}"

[[replica]]
topic = "iam.user"
table = "lookup_users"
)"},
    TextFile{"admin.toml", R"(# admin holds a copy of the users of its own.
[service]
name = "admin"
database = "{}"
broker = "{}"

[[replica]]
topic = "iam.user"
table = "lookup_users"
)"},
};

constexpr std::array<std::string_view, 6> kOtherFiles = {
    "iam.db", "data_owner.db", "processing.db", "admin.db", "broker.db", "demo.log"};

std::unexpected<Error> cannot(std::string_view verb, const std::string& path, int why) {
    const ErrorCode code = why == ENOSPC ? ErrorCode::kStorageFull : ErrorCode::kPermissionDenied;
    return fail(code,
                fmt::format("cannot {} {}: {}", verb, path, std::generic_category().message(why)));
}

/// Errors: kConflict if the folder holds something and no demo has made it.
Result<void> check_is_ours(const std::filesystem::path& folder) {
    std::error_code failed;
    const bool is_foreign = !std::filesystem::exists(folder / kMarker, failed) &&
                            !std::filesystem::is_empty(folder, failed);
    if (failed) {
        return cannot("read", folder.string(), failed.value());
    }
    if (is_foreign) {
        return fail(ErrorCode::kConflict,
                    fmt::format("{} holds files that are not a demo's; give an empty or a new "
                                "folder with --dir",
                                folder.string()));
    }
    return {};
}

}  // namespace

DemoFolder::DemoFolder(DemoFolder&& other) noexcept
    : directory_(std::move(other.directory_)), lock_(std::exchange(other.lock_, -1)) {}

DemoFolder::~DemoFolder() {
    if (lock_ >= 0) {
        ::close(lock_);
    }
}

Result<DemoFolder> DemoFolder::claim(const std::string& directory) {
    const std::filesystem::path folder(directory);
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    if (failed) {
        return cannot("make", directory, failed.value());
    }
    INSTEP_TRY(check_is_ours(folder));
    const std::string marker = (folder / kMarker).string();
    const int lock = ::open(marker.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0) {
        return cannot("write", marker, errno);
    }
    DemoFolder claimed(directory, lock);
    if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
        return fail(
            ErrorCode::kConflict,
            fmt::format("a demo is running in {}; end it, or give another --dir", directory));
    }
    INSTEP_TRY(claimed.clear());
    return claimed;
}

std::string DemoFolder::file(std::string_view name) const {
    return (std::filesystem::path(directory_) / name).lexically_normal().string();
}

std::vector<std::string> DemoFolder::service_files() const {
    std::vector<std::string> files;
    std::ranges::transform(kServiceFiles, std::back_inserter(files),
                           [this](const TextFile& text_file) { return file(text_file.name); });
    return files;
}

Result<void> DemoFolder::clear() const {
    for (const std::string_view name : kOtherFiles) {
        for (const std::string_view suffix : {"", "-wal", "-shm"}) {
            const std::string path = file(fmt::format("{}{}", name, suffix));
            if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
                return cannot("remove", path, errno);
            }
        }
    }
    return {};
}

Result<void> DemoFolder::write_service_files(std::span<const std::string> databases,
                                             std::string_view broker) const {
    for (std::size_t i = 0; i < kServiceFiles.size(); ++i) {
        const std::string_view its_broker = broker == "embedded:"        ? "embedded:broker.db"
                                            : broker == kDirect && i > 0 ? "direct:iam.toml"
                                                                         : broker;
        const std::string path = file(kServiceFiles[i].name);
        std::ofstream out(path, std::ios::trunc);
        using std::filesystem::perms;
        std::error_code failed;
        std::filesystem::permissions(path, perms::owner_read | perms::owner_write, failed);
        out << fmt::format(fmt::runtime(kServiceFiles[i].text), databases[i], its_broker);
        out.close();
        if (!out || failed) {
            return cannot("write", path, failed ? failed.value() : errno);
        }
    }
    return {};
}

}  // namespace instep::cli
