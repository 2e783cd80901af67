#include "interrupt.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace instep::cli {

namespace {

constexpr int kForcedExit = 130;

// A handler may touch nothing else: lock-free flags, and a pipe that wakes poll().
volatile std::sig_atomic_t signals_seen = 0;
std::array<int, 2> wake_pipe = {-1, -1};

/// A terminal that goes may say so twice: its line and its shell.
void on_signal(int signal) {
    const int saved = errno;
    if (signals_seen != 0 && signal != SIGHUP) {
        ::_exit(kForcedExit);
    }
    signals_seen = 1;
    [[maybe_unused]] const auto written = ::write(wake_pipe[1], "!", 1);
    errno = saved;
}

void handle_with(void (*handler)(int)) {
    struct sigaction action = {};
    action.sa_handler = handler;
    ::sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    struct sigaction standing = {};
    // nohup has it ignored, and means it.
    if (::sigaction(SIGHUP, nullptr, &standing) == 0 && standing.sa_handler != SIG_IGN) {
        ::sigaction(SIGHUP, &action, nullptr);
    }
}

bool readable(int timeout_ms) noexcept {
    pollfd waiting{.fd = wake_pipe[0], .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, timeout_ms) > 0;
}

}  // namespace

Interrupt::Interrupt() {
    signals_seen = 0;
    if (::pipe2(wake_pipe.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
        std::abort();
    }
    handle_with(on_signal);
}

Interrupt::~Interrupt() {
    handle_with(SIG_DFL);
    ::close(wake_pipe[0]);
    ::close(wake_pipe[1]);
}

bool Interrupt::requested() const noexcept { return signals_seen != 0; }

bool Interrupt::wait_for(std::chrono::milliseconds patience) const noexcept {
    return readable(static_cast<int>(patience.count())) || requested();
}

void Interrupt::wait() const noexcept {
    while (!requested()) {
        readable(-1);
    }
}

}  // namespace instep::cli
