#include "tests/support/tcp_proxy.hpp"

#include "instep/base/random.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <fcntl.h>
#include <list>
#include <mutex>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <poll.h>
#include <string>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace instep::test {

namespace {

using namespace std::chrono_literals;
using SteadyTime = std::chrono::steady_clock::time_point;

/// Held back for a direction; then its sender has to wait, as it would for a full socket.
constexpr std::size_t kHeldBytesMax = 256UL * 1024;

class Socket {
public:
    explicit Socket(int number = -1) : number_(number) {}
    Socket(Socket&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Socket& operator=(Socket&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Socket() {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    [[nodiscard]] int number() const { return number_; }

    /// Makes its close a reset instead of an orderly end.
    void abandon() const {
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(number_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }

private:
    int number_;
};

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

Socket new_socket() { return Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

void make_quick(const Socket& socket) {
    const int on = 1;
    ::setsockopt(socket.number(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::fcntl(socket.number(), F_SETFL, O_NONBLOCK);
}

struct Settings {
    bool is_down = false;
    bool is_stalled = false;
    std::chrono::microseconds delay_max{0};
    std::size_t bytes_per_second = 0;
    std::size_t cut_mean_bytes = 0;
    std::optional<std::uint64_t> answer_to_lose{};
    std::uint64_t cuts_asked = 0;
};

/// One direction of a connection.
struct Direction {
    struct Piece {
        SteadyTime due;
        std::string bytes;
    };
    std::deque<Piece> held{};
    std::size_t held_bytes = 0;
    bool has_ended = false;
    bool end_passed = false;
};

struct Link {
    Socket client;
    Socket server;
    Direction to_server{};
    Direction to_client{};
    std::optional<std::size_t> bytes_left{};
    bool is_cut = false;
};

}  // namespace

class TcpProxy::Impl {
public:
    Impl(int server_port, std::uint64_t seed)
        : server_port_(server_port),
          random_(seed),
          listener_(new_socket()),
          wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        sockaddr_in address = loopback(0);
        socklen_t size = sizeof address;
        if (::bind(listener_.number(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
            ::listen(listener_.number(), 64) != 0 ||
            ::getsockname(listener_.number(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
            throw std::system_error(errno, std::generic_category(), "proxy on loopback");
        }
        ::fcntl(listener_.number(), F_SETFL, O_NONBLOCK);
        port_ = ntohs(address.sin_port);
        thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
    }

    ~Impl() {
        thread_.request_stop();
        wake();
    }

    template <class Change>
    void set(const Change& change) {
        std::unique_lock lock(mutex_);
        change(wanted_);
        const std::uint64_t mine = ++changes_wanted_;
        wake();
        taken_.wait(lock, [&] { return changes_taken_ >= mine; });
    }

    [[nodiscard]] int port() const { return port_; }

    [[nodiscard]] Counts counts() const {
        const std::scoped_lock lock(mutex_);
        return counts_;
    }

private:
    void wake() const {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = ::write(wake_.number(), &one, sizeof one);
    }

    void run(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            take_settings();
            wait();
            accept_clients();
            for (Link& link : links_) {
                pump(link.client, link.server, link.to_server, link, &Counts::bytes_to_server);
                pump(link.server, link.client, link.to_client, link, &Counts::bytes_to_client);
            }
            std::erase_if(links_, [this](const Link& link) { return is_over(link); });
        }
    }

    void take_settings() {
        std::uint64_t wakes = 0;
        [[maybe_unused]] const auto got = ::read(wake_.number(), &wakes, sizeof wakes);
        const std::scoped_lock lock(mutex_);
        const std::uint64_t cuts_done = settings_.cuts_asked;
        const std::size_t mean = settings_.cut_mean_bytes;
        settings_ = wanted_;
        answers_left_ = std::exchange(wanted_.answer_to_lose, {}).value_or(answers_left_);
        for (Link& link : links_) {
            link.is_cut = link.is_cut || settings_.is_down || settings_.cuts_asked != cuts_done;
            if (settings_.cut_mean_bytes != mean) {
                link.bytes_left = draw_bytes_left();
            }
        }
        changes_taken_ = changes_wanted_;
        taken_.notify_all();
    }

    std::optional<std::size_t> draw_bytes_left() {
        if (settings_.cut_mean_bytes == 0) {
            return std::nullopt;
        }
        return random_.below(2 * settings_.cut_mean_bytes) + 1;
    }

    /// Until a socket is ready, a piece is due or a setting changes.
    void wait() {
        std::vector<pollfd> waiting = {{wake_.number(), POLLIN, 0},
                                       {listener_.number(), POLLIN, 0}};
        auto patience = std::chrono::microseconds(1s);
        const auto now = std::chrono::steady_clock::now();
        const auto add = [&](const Socket& from, const Socket& to, const Direction& direction) {
            if (!direction.has_ended && direction.held_bytes < kHeldBytesMax) {
                waiting.push_back({from.number(), POLLIN, 0});
            }
            if (direction.held.empty()) {
                return;
            }
            const auto left = direction.held.front().due - now;
            if (left <= 0ns) {
                waiting.push_back({to.number(), POLLOUT, 0});
            } else {
                patience = std::min(patience, std::chrono::ceil<std::chrono::microseconds>(left));
            }
        };
        for (const Link& link : links_) {
            if (link.is_cut) {
                return;
            }
            if (!settings_.is_stalled) {
                add(link.client, link.server, link.to_server);
                add(link.server, link.client, link.to_client);
            }
        }
        const timespec timeout{.tv_sec = patience / 1s, .tv_nsec = (patience % 1s) / 1ns};
        ::ppoll(waiting.data(), waiting.size(), &timeout, nullptr);
    }

    void accept_clients() {
        for (;;) {
            Socket client(::accept4(listener_.number(), nullptr, nullptr, SOCK_CLOEXEC));
            if (client.number() < 0) {
                return;
            }
            count(&Counts::accepted, 1);
            Socket server = new_socket();
            sockaddr_in address = loopback(server_port_);
            if (settings_.is_down ||
                ::connect(server.number(), reinterpret_cast<sockaddr*>(&address), sizeof address) !=
                    0) {
                client.abandon();
                continue;
            }
            make_quick(client);
            make_quick(server);
            links_.push_back({.client = std::move(client), .server = std::move(server)});
            links_.back().bytes_left = draw_bytes_left();
        }
    }

    void pump(const Socket& from, const Socket& to, Direction& direction, Link& link,
              std::uint64_t Counts::* total) {
        if (link.is_cut || settings_.is_stalled) {
            return;
        }
        take(from, direction, link, total == &Counts::bytes_to_client);
        pass(to, direction, link, total);
    }

    void take(const Socket& from, Direction& direction, Link& link, bool is_answer) {
        std::array<char, 16384> buffer{};
        while (!direction.has_ended && direction.held_bytes < kHeldBytesMax) {
            const ssize_t got = ::recv(from.number(), buffer.data(), buffer.size(), 0);
            if (got < 0) {
                link.is_cut = link.is_cut || (errno != EAGAIN && errno != EINTR);
                return;
            }
            if (got == 0) {
                direction.has_ended = true;
                return;
            }
            if (is_answer && answers_left_ > 0 && --answers_left_ == 0) {
                link.is_cut = true;
                return;
            }
            hold(direction, std::string(buffer.data(), static_cast<std::size_t>(got)));
        }
    }

    void hold(Direction& direction, std::string bytes) {
        auto due = std::chrono::steady_clock::now();
        if (settings_.delay_max > 0us) {
            due += std::chrono::microseconds(
                random_.below(static_cast<std::uint64_t>(settings_.delay_max.count()) + 1));
        }
        if (!direction.held.empty()) {
            due = std::max(due, direction.held.back().due);
        }
        if (settings_.bytes_per_second > 0) {
            due += std::chrono::microseconds(1'000'000 * bytes.size() / settings_.bytes_per_second);
        }
        direction.held_bytes += bytes.size();
        direction.held.push_back({due, std::move(bytes)});
    }

    void pass(const Socket& to, Direction& direction, Link& link, std::uint64_t Counts::* total) {
        const auto now = std::chrono::steady_clock::now();
        while (!direction.held.empty() && direction.held.front().due <= now) {
            std::string& bytes = direction.held.front().bytes;
            std::size_t size = bytes.size();
            if (link.bytes_left) {
                size = std::min(size, *link.bytes_left);
            }
            const ssize_t sent = ::send(to.number(), bytes.data(), size, MSG_NOSIGNAL);
            if (sent < 0) {
                link.is_cut = link.is_cut || (errno != EAGAIN && errno != EINTR);
                return;
            }
            count(total, static_cast<std::uint64_t>(sent));
            direction.held_bytes -= static_cast<std::size_t>(sent);
            bytes.erase(0, static_cast<std::size_t>(sent));
            if (bytes.empty()) {
                direction.held.pop_front();
            }
            if (link.bytes_left) {
                *link.bytes_left -= static_cast<std::size_t>(sent);
                link.is_cut = *link.bytes_left == 0;
            }
            if (link.is_cut) {
                return;
            }
        }
        if (direction.has_ended && direction.held.empty() && !direction.end_passed) {
            ::shutdown(to.number(), SHUT_WR);
            direction.end_passed = true;
        }
    }

    bool is_over(const Link& link) {
        if (link.is_cut) {
            count(&Counts::cut, 1);
            link.client.abandon();
            link.server.abandon();
            return true;
        }
        return link.to_server.end_passed && link.to_client.end_passed;
    }

    void count(std::uint64_t Counts::* what, std::uint64_t more) {
        const std::scoped_lock lock(mutex_);
        counts_.*what += more;
    }

    const int server_port_;
    SeededRandom random_;
    Socket listener_;
    Socket wake_;
    int port_ = 0;
    mutable std::mutex mutex_;
    std::condition_variable taken_;
    Settings wanted_;
    std::uint64_t changes_wanted_ = 0;
    std::uint64_t changes_taken_ = 0;
    Counts counts_;

    // Of the thread alone.
    Settings settings_;
    std::uint64_t answers_left_ = 0;
    std::list<Link> links_;

    std::jthread thread_;
};

TcpProxy::TcpProxy(int server_port, std::uint64_t seed)
    : impl_(std::make_unique<Impl>(server_port, seed)) {}
TcpProxy::~TcpProxy() = default;

int TcpProxy::port() const { return impl_->port(); }
TcpProxy::Counts TcpProxy::counts() const { return impl_->counts(); }

void TcpProxy::cut() {
    impl_->set([](Settings& settings) { ++settings.cuts_asked; });
}

void TcpProxy::take_down() {
    impl_->set([](Settings& settings) { settings.is_down = true; });
}

void TcpProxy::stall() {
    impl_->set([](Settings& settings) { settings.is_stalled = true; });
}

void TcpProxy::delay(std::chrono::microseconds longest) {
    impl_->set([=](Settings& settings) { settings.delay_max = longest; });
}

void TcpProxy::throttle(std::size_t bytes_per_second) {
    impl_->set([=](Settings& settings) { settings.bytes_per_second = bytes_per_second; });
}

void TcpProxy::lose_answer(std::uint64_t n) {
    impl_->set([=](Settings& settings) { settings.answer_to_lose = n; });
}

void TcpProxy::cut_at_random(std::size_t mean_bytes) {
    impl_->set([=](Settings& settings) { settings.cut_mean_bytes = mean_bytes; });
}

void TcpProxy::restore() {
    impl_->set([](Settings& settings) {
        settings = Settings{.answer_to_lose = 0, .cuts_asked = settings.cuts_asked};
    });
}

}  // namespace instep::test
