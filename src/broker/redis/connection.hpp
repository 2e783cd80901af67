#pragma once

#include "endpoint.hpp"
#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/retry/backoff.hpp"
#include "resp.hpp"
#include "socket.hpp"

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace instep::redis {

/// What an error reply of the server means to a caller.
Error to_error(const Endpoint& endpoint, std::string_view text);

/// A logged-in connection. Any number of commands may be under way; replies come in their order.
/// For one thread at a time.
class Connection {
public:
    /// `endpoint` must outlive it. Errors: kUnavailable, kPermissionDenied, kUnsupported,
    /// kConfigInvalid.
    static Result<std::unique_ptr<Connection>> open(const Endpoint& endpoint);

    /// Commands to be sent are appended here.
    [[nodiscard]] CommandWriter write() { return CommandWriter(out_); }
    [[nodiscard]] std::size_t unsent_bytes() const { return out_.size(); }
    Result<void> send();

    /// Waits for the next token. Errors: kUnavailable, kCorrupt.
    Result<Token> next_token();

    /// Waits for a whole reply; a server's error is one too.
    Result<Reply> read_reply();

    /// Sends one command and waits for its reply. A server's error becomes an Error.
    Result<Reply> call(std::initializer_list<std::string_view> arguments);

    /// Runs a script whole or not at all; others see nothing of it half done.
    Result<Reply> run(std::string_view script, std::span<const std::string> keys,
                      std::span<const std::string> arguments);

    /// True if next_token() has something to look at, or the server has gone.
    [[nodiscard]] bool has_bytes() const { return !input_.empty() || socket_->has_bytes(); }
    [[nodiscard]] int descriptor() const { return socket_->descriptor(); }

    /// True after an error that leaves replies unread or the connection closed.
    [[nodiscard]] bool is_broken() const { return broken_; }
    void give_up() { broken_ = true; }

private:
    Connection(const Endpoint& endpoint, std::unique_ptr<Socket> socket)
        : endpoint_(endpoint), socket_(std::move(socket)) {}

    Result<void> log_in();
    Result<Reply> read_reply(int depth);

    const Endpoint& endpoint_;
    std::unique_ptr<Socket> socket_;
    std::string out_;
    RespInput input_;
    bool broken_ = false;
};

/// Keeps a connection and makes a new one when it broke, after growing pauses.
class Link {
public:
    Link(const Endpoint& endpoint, const Clock& clock, Random& random)
        : endpoint_(endpoint), clock_(clock), random_(random) {}

    /// A connection with nothing under way. Errors: those of Connection::open(); during a pause,
    /// the error before it.
    Result<Connection*> idle();

    /// The connection as it is; null if there is none.
    [[nodiscard]] Connection* current() { return connection_.get(); }

    /// Whatever is under way is forgotten.
    void drop() { connection_.reset(); }

    /// What is left of the pause; zero without one.
    [[nodiscard]] std::chrono::milliseconds pause() const;

private:
    static constexpr BackoffPolicy kBackoff{.initial = std::chrono::milliseconds(20),
                                            .multiplier = 2.0,
                                            .max = std::chrono::milliseconds(2000),
                                            .jitter = 0.2};

    const Endpoint& endpoint_;
    const Clock& clock_;
    Random& random_;
    std::unique_ptr<Connection> connection_;
    std::uint32_t failures_ = 0;
    std::chrono::microseconds retry_at_{0};
    std::optional<Error> failure_;
};

}  // namespace instep::redis
