#include "lock_waiter.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <thread>

namespace instep::sqlite {

namespace {

using std::chrono::microseconds;

// SQLite's lock has no queue: whoever asks in the short moment between two transactions of a
// busy writer gets it. Who sleeps long asks seldom, and may starve.
constexpr microseconds kFirstWait{100};
constexpr microseconds kLongestWait{1000};
constexpr int kDoublingsMax = 4;

}  // namespace

void LockWaiter::install(sqlite3* handle) noexcept {
    sqlite3_busy_handler(
        handle,
        [](void* self, int earlier_waits) {
            return static_cast<LockWaiter*>(self)->wait(earlier_waits) ? 1 : 0;
        },
        this);
}

bool LockWaiter::wait(int earlier_waits) noexcept {
    if (earlier_waits == 0) {
        waited_ = microseconds{0};
    }
    const microseconds next = std::min({kFirstWait * (1 << std::min(earlier_waits, kDoublingsMax)),
                                        kLongestWait, patience_ - waited_});
    if (next <= microseconds{0}) {
        return false;
    }
    std::this_thread::sleep_for(next);
    waited_ += next;
    return true;
}

}  // namespace instep::sqlite
