#include "tests/support/process.hpp"

#include <spawn.h>

#include <array>
#include <csignal>
#include <fcntl.h>
#include <map>
#include <sys/mman.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace instep::test {

namespace {

std::vector<std::string> merged_environment(const ProcessOptions& options) {
    std::map<std::string, std::string> variables;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string text = *entry;
        variables[text.substr(0, text.find('='))] = text;
    }
    for (const auto& [name, value] : options.environment) {
        variables[name].assign(name).append("=").append(value);
    }
    std::vector<std::string> lines;
    lines.reserve(variables.size());
    for (const auto& [name, line] : variables) {
        lines.push_back(line);
    }
    return lines;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    result.reserve(texts.size() + 1);
    for (std::string& text : texts) {
        result.push_back(text.data());
    }
    result.push_back(nullptr);
    return result;
}

}  // namespace

Process::Capture::Capture(const char* name) : descriptor_(::memfd_create(name, MFD_CLOEXEC)) {
    if (descriptor_ < 0) {
        throw std::system_error(errno, std::generic_category(), "memfd_create");
    }
}

Process::Capture::~Capture() { ::close(descriptor_); }

std::string Process::Capture::text() const {
    std::string text;
    std::array<char, 65536> buffer{};
    for (;;) {
        const ssize_t got =
            ::pread(descriptor_, buffer.data(), buffer.size(), static_cast<off_t>(text.size()));
        if (got <= 0) {
            return text;
        }
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

Process::Process(const std::string& program, const ProcessOptions& options) {
    std::vector<std::string> words = {program};
    words.insert(words.end(), options.arguments.begin(), options.arguments.end());
    std::vector<std::string> variables = merged_environment(options);

    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, out_.descriptor(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, err_.descriptor(), STDERR_FILENO);
    if (!options.directory.empty()) {
        ::posix_spawn_file_actions_addchdir_np(&actions, options.directory.c_str());
    }
    const int failed = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr,
                                     pointers(words).data(), pointers(variables).data());
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        throw std::system_error(failed, std::generic_category(), program);
    }
}

Process::~Process() {
    if (!reaped_) {
        signal(SIGKILL);
        ::waitpid(pid_, &status_, 0);
    }
}

void Process::signal(int number) const { ::kill(pid_, number); }

bool Process::stop(std::chrono::milliseconds deadline) const {
    signal(SIGSTOP);
    return eventually(
        [this] {
            siginfo_t news{};
            return ::waitid(P_PID, static_cast<id_t>(pid_), &news, WSTOPPED | WNOHANG | WNOWAIT) ==
                       0 &&
                   news.si_pid == pid_;
        },
        deadline);
}

bool Process::prints(std::string_view text, std::chrono::milliseconds deadline) const {
    return eventually([&] { return out_.text().find(text) != std::string::npos; }, deadline);
}

bool Process::complains(std::string_view text, std::chrono::milliseconds deadline) const {
    return eventually([&] { return err_.text().find(text) != std::string::npos; }, deadline);
}

bool Process::has_ended() {
    reaped_ = reaped_ || ::waitpid(pid_, &status_, WNOHANG) == pid_;
    return reaped_;
}

Finished Process::wait(std::chrono::milliseconds deadline) {
    Finished finished;
    finished.overdue = !eventually([this] { return has_ended(); }, deadline);
    if (finished.overdue) {
        signal(SIGKILL);
        reaped_ = ::waitpid(pid_, &status_, 0) == pid_;
    }
    finished.exit = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
    finished.out = out_.text();
    finished.err = err_.text();
    return finished;
}

Finished run_process(const std::string& program, const ProcessOptions& options) {
    return Process(program, options).wait();
}

}  // namespace instep::test
