#include "socket.hpp"

#include "tls.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace instep::redis {

namespace {

using Milliseconds = std::chrono::milliseconds;

std::string describe(int error) { return std::generic_category().message(error); }

std::unexpected<Error> unavailable(const Endpoint& endpoint, std::string_view what) {
    return fail(ErrorCode::kUnavailable, fmt::format("{}: {}", endpoint.display_url, what));
}

std::unexpected<Error> silent(const Endpoint& endpoint) {
    return unavailable(endpoint,
                       fmt::format("the server did not answer in {} ms", endpoint.timeout.count()));
}

/// Nothing is sent as a signal when the server has closed its end.
class Descriptor {
public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&&) = delete;
    ~Descriptor() {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    [[nodiscard]] int number() const { return number_; }

private:
    int number_;
};

/// True if it became ready before the time was over.
bool await(int descriptor, short events, Milliseconds time) {
    pollfd poll{.fd = descriptor, .events = events, .revents = 0};
    int ready = -1;
    do {
        ready = ::poll(&poll, 1, static_cast<int>(time.count()));
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

class TcpSocket final : public Socket {
public:
    TcpSocket(const Endpoint& endpoint, Descriptor descriptor)
        : endpoint_(endpoint), descriptor_(std::move(descriptor)) {}

    Result<void> write(std::string_view bytes) override {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(descriptor(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent >= 0) {
                bytes.remove_prefix(static_cast<std::size_t>(sent));
            } else if (errno == EAGAIN) {
                if (!await(descriptor(), POLLOUT, endpoint_.timeout)) {
                    return silent(endpoint_);
                }
            } else if (errno != EINTR) {
                return unavailable(endpoint_, describe(errno));
            }
        }
        return {};
    }

    Result<std::size_t> read(std::span<char> room) override {
        while (true) {
            const ssize_t got = ::recv(descriptor(), room.data(), room.size(), 0);
            if (got > 0) {
                return static_cast<std::size_t>(got);
            }
            if (got == 0) {
                return unavailable(endpoint_, "the server closed the connection");
            }
            if (errno == EAGAIN) {
                if (!await(descriptor(), POLLIN, endpoint_.timeout)) {
                    return silent(endpoint_);
                }
            } else if (errno != EINTR) {
                return unavailable(endpoint_, describe(errno));
            }
        }
    }

    [[nodiscard]] bool has_bytes() const override {
        return await(descriptor(), POLLIN, Milliseconds(0));
    }

    [[nodiscard]] int descriptor() const override { return descriptor_.number(); }

private:
    const Endpoint& endpoint_;
    Descriptor descriptor_;
};

class TlsSocket final : public Socket {
public:
    TlsSocket(const Endpoint& endpoint, Descriptor descriptor, TlsStream stream)
        : endpoint_(endpoint), descriptor_(std::move(descriptor)), stream_(std::move(stream)) {}

    Result<void> shake_hands() {
        return until_done([this] { return stream_.shake_hands(); });
    }

    Result<void> write(std::string_view bytes) override {
        while (!bytes.empty()) {
            std::size_t sent = 0;
            INSTEP_TRY(until_done([&] { return stream_.write(bytes, sent); }));
            bytes.remove_prefix(sent);
        }
        return {};
    }

    Result<std::size_t> read(std::span<char> room) override {
        std::size_t got = 0;
        INSTEP_TRY(until_done([&] { return stream_.read(room, got); }));
        return got;
    }

    [[nodiscard]] bool has_bytes() const override {
        return stream_.has_bytes() || await(descriptor(), POLLIN, Milliseconds(0));
    }

    [[nodiscard]] int descriptor() const override { return descriptor_.number(); }

private:
    Result<void> until_done(const auto& step) {
        while (true) {
            switch (step()) {
                case TlsStream::Step::kDone:
                    return {};
                case TlsStream::Step::kReads:
                    if (!await(descriptor(), POLLIN, endpoint_.timeout)) {
                        return silent(endpoint_);
                    }
                    break;
                case TlsStream::Step::kWrites:
                    if (!await(descriptor(), POLLOUT, endpoint_.timeout)) {
                        return silent(endpoint_);
                    }
                    break;
                case TlsStream::Step::kFailed:
                    return unavailable(endpoint_, stream_.failure());
            }
        }
    }

    const Endpoint& endpoint_;
    Descriptor descriptor_;
    TlsStream stream_;
};

/// Zero, or why it does not connect.
int connect_to(int descriptor, const addrinfo& address, Milliseconds patience) {
    if (::connect(descriptor, address.ai_addr, address.ai_addrlen) == 0) {
        return 0;
    }
    if (errno != EINPROGRESS) {
        return errno;
    }
    if (!await(descriptor, POLLOUT, patience)) {
        return ETIMEDOUT;
    }
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

void set_options(int descriptor) {
    constexpr int kOn = 1;
    constexpr int kIdleSeconds = 30;
    ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof(kOn));
    ::setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &kOn, sizeof(kOn));
    ::setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &kIdleSeconds, sizeof(kIdleSeconds));
}

Result<Descriptor> connect_tcp(const Endpoint& endpoint) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int failed =
            ::getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &found);
        failed != 0) {
        return unavailable(endpoint,
                           fmt::format("host {}: {}", endpoint.host, ::gai_strerror(failed)));
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
    int error = EADDRNOTAVAIL;
    for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
        Descriptor descriptor(
            ::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (descriptor.number() < 0) {
            error = errno;
            continue;
        }
        error = connect_to(descriptor.number(), *address, endpoint.timeout);
        if (error == 0) {
            set_options(descriptor.number());
            return descriptor;
        }
    }
    return unavailable(endpoint, fmt::format("cannot connect: {}", describe(error)));
}

}  // namespace

Result<std::unique_ptr<Socket>> Socket::connect(const Endpoint& endpoint) {
    if (!endpoint.tls) {
        INSTEP_TRY_ASSIGN(Descriptor descriptor, connect_tcp(endpoint));
        return std::make_unique<TcpSocket>(endpoint, std::move(descriptor));
    }
    INSTEP_TRY_ASSIGN(const TlsContext context, TlsContext::create(endpoint));
    INSTEP_TRY_ASSIGN(Descriptor descriptor, connect_tcp(endpoint));
    INSTEP_TRY_ASSIGN(TlsStream stream, context.stream(descriptor.number(), endpoint));
    auto socket = std::make_unique<TlsSocket>(endpoint, std::move(descriptor), std::move(stream));
    INSTEP_TRY(socket->shake_hands());
    return socket;
}

}  // namespace instep::redis
