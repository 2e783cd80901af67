// A service that runs as a process of its own, so that it can be killed.
#pragma once

#include "instep/base/error.hpp"

#include <string>
#include <sys/types.h>

namespace instep::cli {

/// `instep run FILE`, which ends with this object and with the process that made it.
class DemoProcess {
public:
    /// What it prints goes to `log_descriptor`. Errors: kUnavailable.
    static Result<DemoProcess> run_service(const std::string& service_file, int log_descriptor);
    DemoProcess(DemoProcess&& other) noexcept;
    DemoProcess& operator=(DemoProcess&& other) noexcept;
    ~DemoProcess() { kill(); }

    /// With SIGKILL: nothing is flushed, nothing is given back. No effect on a dead one.
    void kill() noexcept;

    [[nodiscard]] pid_t pid() const { return pid_; }

private:
    explicit DemoProcess(pid_t pid) : pid_(pid) {}

    pid_t pid_;
};

}  // namespace instep::cli
