// Sends HTTP requests and waits for their answers.
#pragma once

#include "instep/base/error.hpp"
#include "instep/http/message.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace instep {

struct HttpClientOptions {
    /// For a whole exchange, from 1 ms. Larger: a server that hangs holds the caller up longer.
    std::chrono::milliseconds timeout{5000};

    /// A longer answer is an error.
    std::size_t answer_bytes_max = 1024U * 1024;
};

/// For one thread at a time. Keeps its connection from one request to the next. Follows no
/// redirects and uses no proxy, whatever the environment says.
class HttpClient {
public:
    /// `base` is where the server is: "http://127.0.0.1:4318", "https://otel.example.org/in"; the
    /// server's certificate is checked against those that the system trusts.
    ///
    /// Errors: kInvalidArgument for another scheme or a URL that does not read.
    static Result<HttpClient> create(std::string base, HttpClientOptions options = {});
    HttpClient(HttpClient&&) noexcept;
    HttpClient& operator=(HttpClient&&) noexcept;
    ~HttpClient();

    /// The request's path is taken below that of `base`. An answer of any status is none of the
    /// errors: kUnavailable if the server cannot be reached or breaks off; kTimeout;
    /// kLimitExceeded for a long answer.
    Result<HttpResponse> send(const HttpRequest& request);

    /// `base` without secrets, for messages.
    [[nodiscard]] const std::string& display_url() const noexcept;

private:
    class Impl;
    explicit HttpClient(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace instep
