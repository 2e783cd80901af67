#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace instep::test {

/// A server of the tests' own: a folder, and a program that runs in it. Both go when the object
/// goes, and also when this process is killed: a shell that stands between the two sees that,
/// stops the program and removes the folder. As root, both belong to the user "postgres",
/// because PostgreSQL and PgBouncer refuse root.
class Daemon {
public:
    /// Makes the folder. `stop_signal` ends the program at once.
    explicit Daemon(int stop_signal);
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    /// Returns when program and folder are gone. In a fork of this process it does nothing.
    ~Daemon();

    [[nodiscard]] const std::string& folder() const { return folder_; }

    /// Writes a file of the folder that the program can read.
    void write(std::string_view name, std::string_view text) const;

    /// Runs a shell command in the folder, to its end. Throws if it fails.
    void run(const std::string& command);

    /// Starts the program, one simple shell command, and waits until `ready` holds. False if it
    /// ended before; throws if it is still not ready at the deadline.
    [[nodiscard]] bool start(const std::string& command, const std::function<bool()>& ready);

    /// Signals the program and waits for its end.
    void stop(int signal);

    [[nodiscard]] pid_t id() const { return pid_; }
    [[nodiscard]] bool has_ended() const;

    /// What program and commands have printed.
    [[nodiscard]] std::string log() const;

    /// Throws std::runtime_error with the end of the log.
    [[noreturn]] void fail(std::string_view what) const;

private:
    class Descriptor {
    public:
        explicit Descriptor(int number = -1) : number_(number) {}
        Descriptor(const Descriptor&) = delete;
        Descriptor& operator=(const Descriptor&) = delete;
        ~Descriptor() { reset(-1); }
        void reset(int number);
        [[nodiscard]] int number() const { return number_; }

    private:
        int number_;
    };

    struct Answer {
        int status = -1;
        pid_t last_started = -1;
    };

    void start_keeper(int stop_signal);
    Answer ask(const std::string& command);
    [[nodiscard]] std::string read_line() const;
    [[nodiscard]] bool ends_before(std::chrono::milliseconds deadline) const;

    const pid_t owner_;
    Descriptor keeper_;
    Descriptor process_;
    pid_t pid_ = -1;
    std::string folder_;
};

/// A loopback port that the system gives to nobody else as long as the object lives. A server that
/// sets SO_REUSEADDR, as all of ours do, listens on it all the same, as often as it is started.
class ReservedPort {
public:
    /// Throws std::system_error if there is none.
    ReservedPort();
    ReservedPort(const ReservedPort&) = delete;
    ReservedPort& operator=(const ReservedPort&) = delete;
    ~ReservedPort();

    [[nodiscard]] int number() const { return number_; }

private:
    int socket_;
    int number_ = 0;
};

}  // namespace instep::test
