#pragma once

#include "tests/support/eventually.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace instep::test {

struct ProcessOptions {
    std::vector<std::string> arguments{};

    /// Set over what this process has.
    std::vector<std::pair<std::string, std::string>> environment{};

    /// The child's working folder; empty: this process's.
    std::string directory{};
};

/// How a child ended and all that it printed.
struct Finished {
    /// Its exit code, or 128 and the number of the signal that ended it.
    int exit = -1;
    std::string out;
    std::string err;

    /// It was still there at the deadline, and was killed.
    bool overdue = false;
};

/// A program run as a child. What it prints is kept in memory, so it never waits for a reader.
class Process {
public:
    /// Starts it. Throws std::system_error if that cannot be done.
    explicit Process(const std::string& program, const ProcessOptions& options = {});
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    /// Kills it if it is still there.
    ~Process();

    void signal(int number) const;

    /// Stops it by SIGSTOP. True once all of it stands still: a signal that is sent while a thread
    /// still runs may be taken before the stop. False at the deadline.
    [[nodiscard]] bool stop(std::chrono::milliseconds deadline = kPatience) const;

    [[nodiscard]] pid_t id() const { return pid_; }

    /// What it has printed to stdout so far.
    [[nodiscard]] std::string output() const { return out_.text(); }

    /// True once it is gone, by itself or by a signal.
    bool has_ended();

    /// True once stdout, or stderr, holds `text`; false at the deadline.
    [[nodiscard]] bool prints(std::string_view text,
                              std::chrono::milliseconds deadline = kPatience) const;
    [[nodiscard]] bool complains(std::string_view text,
                                 std::chrono::milliseconds deadline = kPatience) const;

    /// What it has printed to stderr until now.
    [[nodiscard]] std::string complaints() const { return err_.text(); }

    /// Waits for its end; kills it at the deadline, which is behind those of its own that a test
    /// sets to kPatience.
    Finished wait(std::chrono::milliseconds deadline = 2 * kPatience);

private:
    /// A memory file that the child writes to.
    class Capture {
    public:
        explicit Capture(const char* name);
        Capture(const Capture&) = delete;
        Capture& operator=(const Capture&) = delete;
        ~Capture();
        [[nodiscard]] int descriptor() const { return descriptor_; }
        [[nodiscard]] std::string text() const;

    private:
        int descriptor_;
    };

    Capture out_{"stdout"};
    Capture err_{"stderr"};
    pid_t pid_ = -1;
    int status_ = 0;
    bool reaped_ = false;
};

/// Runs it to its end.
Finished run_process(const std::string& program, const ProcessOptions& options = {});

}  // namespace instep::test
