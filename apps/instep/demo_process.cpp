#include "demo_process.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace instep::cli {

namespace {

/// Between fork and exec other threads' locks may be held: system calls only.
[[noreturn]] void become(std::array<char*, 4> arguments, int log_descriptor) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Ctrl-C at the terminal is for the demo, which ends its processes itself.
    ::setpgid(0, 0);
    ::dup2(log_descriptor, STDOUT_FILENO);
    ::dup2(log_descriptor, STDERR_FILENO);
    ::execvp(arguments.front(), arguments.data());
    ::_exit(127);
}

}  // namespace

DemoProcess::DemoProcess(DemoProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

DemoProcess& DemoProcess::operator=(DemoProcess&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
}

Result<DemoProcess> DemoProcess::run_service(const std::string& service_file, int log_descriptor) {
    // What this program was started with; /proc may not be mounted.
    std::string program = program_invocation_name;
    std::string command = "run";
    std::string file = service_file;
    const std::array<char*, 4> arguments = {program.data(), command.data(), file.data(), nullptr};
    const pid_t pid = ::fork();
    if (pid == 0) {
        become(arguments, log_descriptor);
    }
    if (pid < 0) {
        return fail(ErrorCode::kUnavailable, fmt::format("cannot start {}: {}", program,
                                                         std::generic_category().message(errno)));
    }
    return DemoProcess(pid);
}

void DemoProcess::kill() noexcept {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }
}

}  // namespace instep::cli
