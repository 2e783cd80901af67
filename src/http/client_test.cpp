#include "instep/http/client.hpp"

#include "instep/base/clock.hpp"
#include "instep/http/listener.hpp"
#include "instep/telemetry/logger.hpp"
#include "tests/support/log_lines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>

namespace instep {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class HttpClientTest : public testing::Test {
protected:
    HttpClient client_of(std::vector<HttpRoute> routes, HttpClientOptions options = {}) {
        listener_ = HttpListener::open({}, std::move(routes), logger_).value();
        return HttpClient::create("http://" + listener_->address() + "/", options).value();
    }

    SystemClock clock_;
    test::LogLines lines_;
    Logger logger_{lines_, clock_};
    std::unique_ptr<HttpListener> listener_;
};

TEST_F(HttpClientTest, SaysThatNobodyListens) {
    HttpClient client = client_of({});
    listener_.reset();
    EXPECT_EQ(client.send({}).error().code, ErrorCode::kUnavailable);
}

TEST_F(HttpClientTest, GivesUpOnAServerThatHangs) {
    std::latch release(1);
    HttpClient client = client_of({{"GET", "/",
                                    [&](const HttpRequest&) {
                                        release.wait();
                                        return HttpResponse{};
                                    }}},
                                  {.timeout = 50ms});
    EXPECT_EQ(client.send({}).error().code, ErrorCode::kTimeout);
    release.count_down();
    // Before the latch, which its handler may still hold.
    listener_.reset();
}

TEST_F(HttpClientTest, TakesNoAnswerThatIsTooLong) {
    HttpClient client = client_of(
        {{"GET", "/",
          [](const HttpRequest&) { return HttpResponse{.body = std::string(1001, 'x')}; }}},
        {.answer_bytes_max = 1000});
    EXPECT_EQ(client.send({}).error().code, ErrorCode::kLimitExceeded);
}

TEST_F(HttpClientTest, SendsAHeaderOnlyIfItIsGiven) {
    HttpHeaders seen;
    HttpClient client = client_of({{"POST", "/", [&](const HttpRequest& request) {
                                        seen = request.headers;
                                        return HttpResponse{};
                                    }}});
    ASSERT_TRUE(client.send({.method = "POST", .headers = {{"x-empty", ""}}, .body = "text"}));
    EXPECT_EQ(find_header(seen, "content-type"), "");
    EXPECT_EQ(find_header(seen, "content-length"), "4");
    EXPECT_THAT(seen, testing::Contains(testing::Pair("x-empty", "")));
}

TEST_F(HttpClientTest, TakesUrlsOfServersOnlyAndHidesTheirSecrets) {
    for (const char* const wrong : {"", "127.0.0.1:4318", "ftp://x", "http://x?y", "http://a b"}) {
        EXPECT_EQ(HttpClient::create(wrong).error().code, ErrorCode::kInvalidArgument) << wrong;
    }
    auto client = HttpClient::create("http://me:secret@127.0.0.1:1").value();
    EXPECT_THAT(client.send({}).error().message, Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace instep
