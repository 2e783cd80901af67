// Answers HTTP requests: of machines that ask how a process is, and as the way into a service's
// own code.
//
//     HttpListener::open({.address = "127.0.0.1:8080"},
//                        {{"POST", "/orders", [&](const HttpRequest& request) { … }}}, logger);
//
// There is no TLS and no login: listen on the own machine or on a network that is trusted, and
// put a proxy in front for everybody else.
#pragma once

#include "instep/base/error.hpp"
#include "instep/http/message.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace instep {

class Logger;

/// Answers one request; several may run at once, on the listener's threads. What it throws, a
/// std::exception, becomes an answer 500 and a line in the log.
using HttpHandler = std::function<HttpResponse(const HttpRequest& request)>;

/// Which requests a handler is for.
struct HttpRoute {
    /// "GET" also answers HEAD.
    std::string method;

    /// The whole path; one that ends with a slash is for everything below it too. The longest
    /// that fits wins.
    std::string path;
    HttpHandler answer;
};

struct HttpListenerOptions {
    /// Where to listen: an IPv4 address or an IPv6 one in brackets, a colon and a port, of which 0
    /// is any that is free. "0.0.0.0:…" and "[::]:…" let other machines in.
    std::string address = "127.0.0.1:0";

    /// Requests that are answered at once, 1 to 64. Further ones wait.
    std::uint32_t threads = 2;

    /// Open connections, 1 to 10,000. For one beyond it the oldest that is not being answered is
    /// closed, so that silent peers keep nobody out.
    std::uint32_t connections_max = 64;

    /// A longer request line with its headers is refused with 431; 256 B to 1 MiB.
    std::uint32_t header_bytes_max = 16U * 1024;

    /// A longer body is refused with 413.
    std::size_t body_bytes_max = 1024U * 1024;

    /// How long a request may take to arrive, and an answer to be taken, before the connection is
    /// closed.
    std::chrono::milliseconds transfer_timeout{10'000};

    /// How long a connection may be silent between two requests.
    std::chrono::milliseconds idle_timeout{60'000};
};

/// Errors: kInvalidArgument if it is no address for HttpListenerOptions, whether or not this
/// machine has it.
Result<void> check_listen_address(const std::string& address);

/// Listens as long as it lives. Safe to use from any thread.
class HttpListener {
public:
    /// `logger`, and what the handlers use, must outlive the listener. An unknown path is answered
    /// with 404, a known one with another method with 405.
    ///
    /// Errors: kInvalidArgument for an option out of bounds; kPermissionDenied for a port that
    /// needs more rights; kConflict if somebody else listens there; kUnavailable for an address
    /// that this machine does not have.
    static Result<std::unique_ptr<HttpListener>> open(const HttpListenerOptions& options,
                                                      std::vector<HttpRoute> routes,
                                                      const Logger& logger);
    HttpListener(const HttpListener&) = delete;
    HttpListener& operator=(const HttpListener&) = delete;

    /// Waits for handlers that run; what they answer is not sent any more.
    ~HttpListener();

    /// Where it listens, with the port that it got: "127.0.0.1:34567".
    [[nodiscard]] const std::string& address() const noexcept;

private:
    class Impl;
    explicit HttpListener(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace instep
