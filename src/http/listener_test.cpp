#include "instep/http/listener.hpp"

#include "instep/base/clock.hpp"
#include "instep/http/client.hpp"
#include "instep/telemetry/logger.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_lines.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <atomic>
#include <latch>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace instep {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

/// A peer that sends what it is told, byte for byte.
class Peer {
public:
    explicit Peer(const HttpListener& listener) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
        const std::string& text = listener.address();
        address.sin_port =
            ::htons(static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1))));
        const auto* generic = reinterpret_cast<const sockaddr*>(&address);
        EXPECT_EQ(::connect(socket_, generic, sizeof address), 0);
    }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;
    ~Peer() { ::close(socket_); }

    void send(std::string_view text) const {
        while (!text.empty()) {
            const auto sent = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
            if (sent <= 0) {
                return;
            }
            text.remove_prefix(static_cast<std::size_t>(sent));
        }
    }

    void end() const { ::shutdown(socket_, SHUT_WR); }

    /// Whether anything comes, or the end, within the time.
    [[nodiscard]] bool hears(std::chrono::milliseconds patience = test::kPatience) const {
        pollfd waiting{socket_, POLLIN, 0};
        return ::poll(&waiting, 1, static_cast<int>(patience.count())) == 1;
    }

    /// All that has come once it holds `wanted`, or at the end.
    std::string read_until(std::string_view wanted) {
        std::array<char, 4096> bytes{};
        while (!read_.contains(wanted)) {
            EXPECT_TRUE(hears()) << "the connection stays open and silent";
            const auto count = ::recv(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT);
            if (count <= 0) {
                break;
            }
            read_.append(bytes.data(), static_cast<std::size_t>(count));
        }
        return std::exchange(read_, {});
    }

    /// All that comes to the end.
    std::string read_all() { return read_until("nothing that is ever sent"); }

private:
    int socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    std::string read_;
};

class HttpListenerTest : public testing::Test {
protected:
    void given(std::vector<HttpRoute> routes, HttpListenerOptions options = {}) {
        auto opened = HttpListener::open(options, std::move(routes), logger_);
        ASSERT_TRUE(opened) << opened.error().message;
        listener_ = std::move(*opened);
        client_.emplace(
            HttpClient::create("http://" + listener_->address(), {.timeout = test::kPatience})
                .value());
    }

    static HttpRoute hello(std::string path = "/hello") {
        return {"GET", std::move(path),
                [](const HttpRequest&) { return HttpResponse{.body = "hello\n"}; }};
    }

    HttpResponse ask(const HttpRequest& request) {
        auto answer = client_->send(request);
        EXPECT_TRUE(answer) << answer.error().message;
        return answer.value_or(HttpResponse{.status = 0});
    }

    SystemClock clock_;
    test::LogLines lines_;
    Logger logger_{lines_, clock_};
    std::unique_ptr<HttpListener> listener_;
    std::optional<HttpClient> client_;
};

TEST_F(HttpListenerTest, GivesAHandlerAllOfARequestAndTheCallerItsAnswer) {
    HttpRequest seen;
    given({{"POST", "/orders/", [&](const HttpRequest& request) {
                seen = request;
                return HttpResponse{.status = 201,
                                    .body = R"({"id":"o-1"})",
                                    .content_type = "application/json",
                                    .headers = {{"location", "/orders/o-1"}}};
            }}});
    const HttpResponse answer = ask({.method = "POST",
                                     .path = "/orders/o-1/lines",
                                     .query = "dry=1&a=b",
                                     .headers = {{"X-Correlation-Id", "c-17"}},
                                     .body = std::string(100'000, 'x')});
    EXPECT_EQ(answer.status, 201U);
    EXPECT_EQ(answer.body, R"({"id":"o-1"})");
    EXPECT_EQ(answer.content_type, "application/json");
    EXPECT_EQ(find_header(answer.headers, "Location"), "/orders/o-1");
    EXPECT_EQ(seen.method, "POST");
    EXPECT_EQ(seen.path, "/orders/o-1/lines");
    EXPECT_EQ(seen.query, "dry=1&a=b");
    EXPECT_EQ(seen.header("x-correlation-id"), "c-17");
    EXPECT_EQ(seen.header("x-unknown"), "");
    EXPECT_EQ(seen.body.size(), 100'000U);
}

TEST_F(HttpListenerTest, TheLongestPathThatFitsWins) {
    const auto say = [](std::string text) {
        return [text](const HttpRequest&) { return HttpResponse{.body = text}; };
    };
    given({{"GET", "/", say("root")}, {"GET", "/a/", say("below")}, {"GET", "/a/b", say("b")}});
    EXPECT_EQ(ask({.path = "/a/b"}).body, "b");
    EXPECT_EQ(ask({.path = "/a/b/c"}).body, "below");
    EXPECT_EQ(ask({.path = "/a"}).body, "root");
}

TEST_F(HttpListenerTest, SaysWhatItHasNothingFor) {
    given({hello(), {"PUT", "/hello", [](const HttpRequest&) { return HttpResponse{}; }}});
    EXPECT_EQ(ask({.path = "/hello/you"}).status, 404U);
    const HttpResponse refused = ask({.method = "DELETE", .path = "/hello"});
    EXPECT_EQ(refused.status, 405U);
    EXPECT_EQ(find_header(refused.headers, "allow"), "GET, PUT");
}

TEST_F(HttpListenerTest, AnswersHeadWithoutABody) {
    given({hello()});
    Peer peer(*listener_);
    peer.send("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string answer = peer.read_all();
    EXPECT_THAT(answer, HasSubstr("Content-Length: 6\r\n"));
    EXPECT_THAT(answer, testing::EndsWith("\r\n\r\n"));
}

TEST_F(HttpListenerTest, KeepsAConnectionForTheNextRequest) {
    given({hello()});
    Peer peer(*listener_);
    const std::string request = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    peer.send(request);
    EXPECT_THAT(peer.read_until("hello\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
    peer.send(request);
    EXPECT_THAT(peer.read_until("hello\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
    peer.send(request + request);
    EXPECT_THAT(peer.read_until("hello\nHTTP"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(HttpListenerTest, RefusesWhatIsTooLongOrNoRequest) {
    given({hello()}, {.header_bytes_max = 512, .body_bytes_max = 1000});
    EXPECT_EQ(ask({.path = "/hello", .headers = {{"x", std::string(1000, 'x')}}}).status, 431U);
    EXPECT_EQ(ask({.method = "POST", .path = "/hello", .body = std::string(1001, 'x')}).status,
              413U);
    Peer peer(*listener_);
    peer.send("this is no request of HTTP\r\n\r\n");
    EXPECT_THAT(peer.read_all(), StartsWith("HTTP/1.1 400 "));
}

TEST_F(HttpListenerTest, AHandlerThatFailsIsAnAnswerAndALineInTheLog) {
    given({{"GET", "/throws",
            [](const HttpRequest&) -> HttpResponse { throw std::runtime_error("out of luck"); }},
           {"GET", "/splits", [](const HttpRequest&) {
                return HttpResponse{.headers = {{"location", "/\r\nset-cookie: a=b"}}};
            }}});
    EXPECT_EQ(ask({.path = "/throws"}).status, 500U);
    EXPECT_EQ(lines_.count("out of luck"), 1U);
    const HttpResponse split = ask({.path = "/splits"});
    EXPECT_EQ(split.status, 500U);
    EXPECT_EQ(find_header(split.headers, "set-cookie"), "");
}

TEST_F(HttpListenerTest, ClosesAConnectionWhoseRequestDoesNotArrive) {
    given({hello()}, {.transfer_timeout = 50ms});
    Peer peer(*listener_);
    peer.send("GET /hello HT");
    EXPECT_TRUE(peer.hears());
    EXPECT_EQ(peer.read_all(), "");
}

TEST_F(HttpListenerTest, ClosesAConnectionThatIsSilentBetweenRequests) {
    given({hello()}, {.idle_timeout = 50ms});
    // Where this thread is kept away for so long, the connection goes before it has asked.
    EXPECT_TRUE(test::eventually([&] {
        Peer peer(*listener_);
        peer.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        return peer.read_all().ends_with("hello\n");
    }));
}

TEST_F(HttpListenerTest, SilentConnectionsKeepNobodyOut) {
    given({hello()}, {.connections_max = 2, .transfer_timeout = 1h, .idle_timeout = 1h});
    const std::string request = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    Peer silent(*listener_);
    Peer slow(*listener_);
    slow.send("GET /hel");
    Peer first(*listener_);
    first.send(request);
    EXPECT_THAT(first.read_until("hello\n"), HasSubstr("200"));
    EXPECT_EQ(silent.read_all(), "");
    Peer second(*listener_);
    second.send(request);
    EXPECT_THAT(second.read_until("hello\n"), HasSubstr("200"));
    EXPECT_EQ(slow.read_all(), "");
}

TEST_F(HttpListenerTest, WhoIsBeingAnsweredGivesNoWay) {
    std::latch release(1);
    std::atomic<bool> is_waiting = false;
    given({hello(),
           {"GET", "/slow",
            [&](const HttpRequest&) {
                is_waiting = true;
                release.wait();
                return HttpResponse{.body = "slow\n"};
            }}},
          {.connections_max = 1});
    Peer slow(*listener_);
    slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(test::eventually([&] { return is_waiting.load(); }));
    Peer next(*listener_);
    next.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(next.read_until("hello\n"), HasSubstr("200"));
    release.count_down();
    EXPECT_THAT(slow.read_until("slow\n"), HasSubstr("200"));
}

TEST_F(HttpListenerTest, ASlowRequestHoldsUpNoOther) {
    std::latch release(1);
    std::atomic<bool> is_waiting = false;
    given({hello(), {"GET", "/slow", [&](const HttpRequest&) {
                         is_waiting = true;
                         release.wait();
                         return HttpResponse{};
                     }}});
    Peer slow(*listener_);
    slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(test::eventually([&] { return is_waiting.load(); }));
    EXPECT_EQ(ask({.path = "/hello"}).status, 200U);
    release.count_down();
    EXPECT_THAT(slow.read_until("\r\n\r\n"), HasSubstr("200"));
}

TEST_F(HttpListenerTest, GoesWhileConnectionsAreOpenAndWaitsForHandlers) {
    std::latch release(1);
    std::atomic<bool> is_waiting = false;
    std::atomic<bool> is_done = false;
    given({{"GET", "/slow", [&](const HttpRequest&) {
                is_waiting = true;
                release.wait();
                is_done = true;
                return HttpResponse{};
            }}});
    Peer idle(*listener_);
    Peer slow(*listener_);
    slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(test::eventually([&] { return is_waiting.load(); }));
    std::jthread ending([&] { listener_.reset(); });
    release.count_down();
    ending.join();
    EXPECT_TRUE(is_done);
    EXPECT_EQ(idle.read_all(), "");
}

TEST_F(HttpListenerTest, SaysWhyItCannotListen) {
    given({hello()});
    const auto open = [&](const std::string& address) {
        return HttpListener::open({.address = address}, {}, logger_).error();
    };
    EXPECT_EQ(open(listener_->address()).code, ErrorCode::kConflict);
    EXPECT_THAT(open(listener_->address()).message, HasSubstr(listener_->address()));
    for (const char* const wrong : {"9464", "localhost:9464", "::1:9464", "[127.0.0.1]:9464",
                                    "127.0.0.1:70000", "127.0.0.1:9464x", "127.0.0.1:", ":9464"}) {
        EXPECT_EQ(open(wrong).code, ErrorCode::kInvalidArgument) << wrong;
    }
    EXPECT_TRUE(HttpListener::open({.address = "[::1]:0"}, {}, logger_));
}

}  // namespace
}  // namespace instep
