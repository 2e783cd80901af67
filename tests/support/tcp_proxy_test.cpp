#include "tests/support/tcp_proxy.hpp"

#include "tests/support/eventually.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <array>
#include <netinet/in.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace instep::test {

namespace {

using namespace std::chrono_literals;

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// Sends back what it gets, one connection at a time.
class EchoServer {
public:
    EchoServer() : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address = loopback(0);
        socklen_t size = sizeof address;
        EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
        EXPECT_EQ(::listen(listener_, 8), 0);
        EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
        port_ = ntohs(address.sin_port);
        thread_ = std::jthread([this] { serve(); });
    }
    ~EchoServer() { ::shutdown(listener_, SHUT_RDWR); }
    EchoServer(const EchoServer&) = delete;
    EchoServer& operator=(const EchoServer&) = delete;

    [[nodiscard]] int port() const { return port_; }

private:
    void serve() const {
        for (int client = 0; (client = ::accept(listener_, nullptr, nullptr)) >= 0;) {
            std::array<char, 4096> buffer{};
            for (ssize_t got = 0; (got = ::recv(client, buffer.data(), buffer.size(), 0)) > 0;) {
                ::send(client, buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL);
            }
            ::close(client);
        }
        ::close(listener_);
    }

    int listener_;
    int port_ = 0;
    std::jthread thread_;
};

class Client {
public:
    explicit Client(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address = loopback(port);
        EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        patience(kPatience);
    }
    ~Client() { ::close(socket_); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void patience(std::chrono::milliseconds time) const {
        const timeval timeout{.tv_sec = time / 1s, .tv_usec = (time % 1s) / 1us};
        ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    }

    void send(std::string_view text) const {
        ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
    }

    /// Empty if the connection is reset or nothing comes.
    [[nodiscard]] std::string receive(std::size_t size) const {
        std::string text(size, '\0');
        const ssize_t got = ::recv(socket_, text.data(), size, MSG_WAITALL);
        text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return text;
    }

    [[nodiscard]] std::string echo(std::string_view text) const {
        send(text);
        return receive(text.size());
    }

private:
    int socket_;
};

class TcpProxyTest : public ::testing::Test {
protected:
    EchoServer server_;
    TcpProxy proxy_{server_.port()};
};

}  // namespace

TEST_F(TcpProxyTest, PassesBytesBothWays) {
    const Client client(proxy_.port());
    const std::string text(3'000'000, 'x');
    std::jthread sender([&] { client.send(text); });
    EXPECT_EQ(client.receive(text.size()), text);
    EXPECT_EQ(proxy_.counts().bytes_to_server, text.size());
}

TEST_F(TcpProxyTest, CutsWhatIsOpenAndTakesNewOnes) {
    {
        const Client client(proxy_.port());
        EXPECT_EQ(client.echo("one"), "one");
        proxy_.cut();
        EXPECT_EQ(client.receive(1), "");
    }
    EXPECT_EQ(Client(proxy_.port()).echo("two"), "two");
    EXPECT_EQ(proxy_.counts().cut, 1);
}

TEST_F(TcpProxyTest, RefusesEverybodyWhileItIsDown) {
    proxy_.take_down();
    EXPECT_EQ(Client(proxy_.port()).echo("one"), "");
    proxy_.restore();
    EXPECT_EQ(Client(proxy_.port()).echo("two"), "two");
}

TEST_F(TcpProxyTest, StallsWithoutClosingAndLosesNothing) {
    const Client client(proxy_.port());
    EXPECT_EQ(client.echo("one"), "one");
    proxy_.stall();
    client.patience(50ms);
    EXPECT_EQ(client.echo("two"), "");
    client.patience(kPatience);
    proxy_.restore();
    EXPECT_EQ(client.receive(3), "two");
}

TEST_F(TcpProxyTest, LosesTheAnswerThatWasNamed) {
    const Client client(proxy_.port());
    proxy_.lose_answer(2);
    EXPECT_EQ(client.echo("one"), "one");
    EXPECT_EQ(client.echo("two"), "");
    EXPECT_EQ(proxy_.counts().bytes_to_server, 6);
}

TEST_F(TcpProxyTest, LosesNoAnswerAfterItWasRestored) {
    const Client client(proxy_.port());
    proxy_.lose_answer(2);
    EXPECT_EQ(client.echo("one"), "one");
    proxy_.restore();
    EXPECT_EQ(client.echo("two"), "two");
}

TEST_F(TcpProxyTest, ThrottlesAndDelaysInOrder) {
    const Client client(proxy_.port());
    proxy_.throttle(100'000);
    proxy_.delay(2ms);
    const auto start = std::chrono::steady_clock::now();
    for (const char* text : {"one", "two", "three"}) {
        EXPECT_EQ(client.echo(text), text);
    }
    EXPECT_EQ(client.echo(std::string(10'000, 'x')).size(), 10'000);
    EXPECT_GE(std::chrono::steady_clock::now() - start, 100ms);
}

TEST_F(TcpProxyTest, CutsAfterRandomAmounts) {
    proxy_.cut_at_random(6000);
    std::size_t passed = 0;
    for (int round = 0; round < 20; ++round) {
        passed += Client(proxy_.port()).echo(std::string(4000, 'x')).size();
    }
    EXPECT_GT(passed, 0);
    EXPECT_GT(proxy_.counts().cut, 0);
    EXPECT_LT(proxy_.counts().cut, 20);
}

}  // namespace instep::test
