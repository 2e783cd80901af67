#include "instep/concurrency/wake_up.hpp"

#include <array>
#include <cstdint>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace instep {

WakeUp::WakeUp() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

WakeUp::~WakeUp() { ::close(event_); }

void WakeUp::wait(int descriptor, const std::stop_token& stop, std::chrono::milliseconds patience) {
    const std::stop_callback wakes(stop, [this] {
        constexpr std::uint64_t kOne = 1;
        [[maybe_unused]] const auto written = ::write(event_, &kOne, sizeof(kOne));
    });
    std::array<pollfd, 2> polls{pollfd{.fd = event_, .events = POLLIN, .revents = 0},
                                pollfd{.fd = descriptor, .events = POLLIN, .revents = 0}};
    ::poll(polls.data(), polls.size(), static_cast<int>(patience.count()));
    std::uint64_t count = 0;
    [[maybe_unused]] const auto read = ::read(event_, &count, sizeof(count));
}

}  // namespace instep
