#include "tests/support/daemon.hpp"

#include "tests/support/eventually.hpp"

#include <spawn.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <netinet/in.h>
#include <poll.h>
#include <sstream>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

// The header of glibc 2.36 does not say so itself.
extern "C" {
#include <sys/pidfd.h>
}

namespace instep::test {

namespace {

/// A server that was killed recovers first, beside all that the machine does.
constexpr std::chrono::seconds kStartPatience{300};

// Descriptor 3 is a socket to the test; its end is the test's end. The part in braces is nobody's
// child, so that whoever kills the test with all its descendants does not kill it too. A stopped
// program sees its signal only when continued.
constexpr const char* kKeeper = R"(
folder=$(mktemp -dt instep-XXXXXX) && cd "$folder" || exit
exec >log 2>&1 </dev/null
export LC_ALL=C.UTF-8
trap '' PIPE
{
    echo "$folder" >&3
    while IFS= read -r command <&3; do
        eval "$command" 3>&-
        echo "$? ${!:-0}" >&3
    done
    if [ -n "$!" ]; then
        kill "-$1" "$!"
        kill -CONT "$!"
        wait
    fi
    cd / && rm -rf "$folder"
} &
)";

[[noreturn]] void throw_errno(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

std::vector<std::string> keeper_words(int stop_signal) {
    std::vector<std::string> words;
    if (::geteuid() == 0) {
        words = {"/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"};
    }
    for (const char* word : {"/bin/sh", "-c", kKeeper, "keeper"}) {
        words.emplace_back(word);
    }
    words.push_back(std::to_string(stop_signal));
    return words;
}

pid_t spawn_in_new_session(std::vector<std::string> words, int descriptor_3) {
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, descriptor_3, 3);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
    pid_t pid = -1;
    const int failed =
        ::posix_spawn(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        throw std::system_error(failed, std::generic_category(), words[0]);
    }
    return pid;
}

}  // namespace

void Daemon::Descriptor::reset(int number) {
    if (number_ >= 0) {
        ::close(number_);
    }
    number_ = number;
}

Daemon::Daemon(int stop_signal) : owner_(::getpid()) {
    start_keeper(stop_signal);
    folder_ = read_line();
}

Daemon::~Daemon() {
    if (::getpid() != owner_) {
        return;
    }
    ::shutdown(keeper_.number(), SHUT_WR);
    char ignored = 0;
    while (::read(keeper_.number(), &ignored, 1) > 0) {
    }
}

void Daemon::start_keeper(int stop_signal) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        throw_errno("socketpair");
    }
    keeper_.reset(ends[0]);
    const Descriptor far_end(ends[1]);
    const pid_t starter = spawn_in_new_session(keeper_words(stop_signal), far_end.number());
    int status = 0;
    if (::waitpid(starter, &status, 0) != starter || status != 0) {
        throw std::runtime_error(
            "a server of the tests' own needs a temporary folder and, for "
            "root, the user postgres: ./dev setup test");
    }
}

std::string Daemon::read_line() const {
    std::string line;
    for (char next = 0;;) {
        const ssize_t got = ::read(keeper_.number(), &next, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            fail("the shell that keeps the server has gone");
        }
        if (next == '\n') {
            return line;
        }
        line.push_back(next);
    }
}

Daemon::Answer Daemon::ask(const std::string& command) {
    const std::string line = command + "\n";
    ::send(keeper_.number(), line.data(), line.size(), MSG_NOSIGNAL);
    Answer answer;
    std::istringstream(read_line()) >> answer.status >> answer.last_started;
    return answer;
}

void Daemon::write(std::string_view name, std::string_view text) const {
    const std::filesystem::path path = std::filesystem::path(folder_) / name;
    std::ofstream(path) << text;
    using std::filesystem::perms;
    std::filesystem::permissions(path, perms::owner_read | perms::owner_write | perms::others_read);
}

void Daemon::run(const std::string& command) {
    if (ask(command).status != 0) {
        fail(command);
    }
}

bool Daemon::start(const std::string& command, const std::function<bool()>& ready) {
    pid_ = ask(command + " &").last_started;
    process_.reset(::pidfd_open(pid_, 0));
    if (process_.number() < 0) {
        throw_errno("pidfd_open");
    }
    bool is_ready = false;
    const auto decided = [&] { return (is_ready = ready()) || has_ended(); };
    if (!eventually(decided, kStartPatience)) {
        fail("not ready in time: " + command);
    }
    return is_ready;
}

void Daemon::stop(int signal) {
    ::pidfd_send_signal(process_.number(), signal, nullptr, 0);
    if (!ends_before(kPatience)) {
        fail("does not stop at signal " + std::to_string(signal));
    }
}

bool Daemon::has_ended() const { return ends_before(std::chrono::milliseconds(0)); }

bool Daemon::ends_before(std::chrono::milliseconds deadline) const {
    pollfd process{.fd = process_.number(), .events = POLLIN, .revents = 0};
    return process.fd < 0 || ::poll(&process, 1, static_cast<int>(deadline.count())) == 1;
}

std::string Daemon::log() const {
    std::ostringstream text;
    text << std::ifstream(folder_ + "/log").rdbuf();
    return std::move(text).str();
}

void Daemon::fail(std::string_view what) const {
    constexpr std::size_t kTail = 2000;
    const std::string text = log();
    throw std::runtime_error(std::string(what) + "\n... " +
                             text.substr(text.size() - std::min(text.size(), kTail)));
}

ReservedPort::ReservedPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (socket_ < 0 || ::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        ::bind(socket_, generic, size) != 0 || ::getsockname(socket_, generic, &size) != 0) {
        throw_errno("reserve a port");
    }
    number_ = ntohs(address.sin_port);
}

ReservedPort::~ReservedPort() { ::close(socket_); }

}  // namespace instep::test
