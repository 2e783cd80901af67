#pragma once

#include <cstdint>
#include <sys/eventfd.h>
#include <unistd.h>

namespace instep::rabbitmq {

/// Ends a poll() of another thread. Safe to use from any thread.
class Wakeup {
public:
    Wakeup() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    ~Wakeup() { ::close(descriptor_); }
    Wakeup(const Wakeup&) = delete;
    Wakeup& operator=(const Wakeup&) = delete;

    [[nodiscard]] int descriptor() const { return descriptor_; }
    void notify() const { ::eventfd_write(descriptor_, 1); }
    void clear() const {
        eventfd_t count = 0;
        ::eventfd_read(descriptor_, &count);
    }

private:
    int descriptor_;
};

}  // namespace instep::rabbitmq
