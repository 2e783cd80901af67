#include "instep/db/database.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

constexpr std::chrono::milliseconds kLockPatienceMax{60'000};
constexpr std::uint32_t kCacheKibMin = 64;
constexpr std::uint32_t kCacheKibMax = 1'048'576;

}  // namespace

Result<void> check(const ConnectOptions& options) {
    if (options.lock_patience < std::chrono::milliseconds{0} ||
        options.lock_patience > kLockPatienceMax || options.cache_kib < kCacheKibMin ||
        options.cache_kib > kCacheKibMax) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("lock_patience must be 0 to {} ms and cache_kib {} to {}, not {} "
                                "and {}",
                                kLockPatienceMax.count(), kCacheKibMin, kCacheKibMax,
                                options.lock_patience.count(), options.cache_kib));
    }
    return {};
}

}  // namespace instep
