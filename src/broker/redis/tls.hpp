// TLS over a non-blocking socket: what OpenSSL does, without its types.
#pragma once

#include "endpoint.hpp"
#include "instep/base/error.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct ssl_st;
struct ssl_ctx_st;

namespace instep::redis {

/// One connection. Borrows the descriptor.
class TlsStream {
public:
    /// kReads and kWrites: call again, the same way, when the descriptor is ready for that.
    enum class Step { kDone, kReads, kWrites, kFailed };

    Step shake_hands();
    Step write(std::string_view bytes, std::size_t& sent);
    Step read(std::span<char> room, std::size_t& got);

    [[nodiscard]] bool has_bytes() const;

    /// Why the last step failed.
    [[nodiscard]] const std::string& failure() const { return failure_; }

private:
    friend class TlsContext;
    struct Free {
        void operator()(ssl_st* stream) const;
    };
    explicit TlsStream(ssl_st* stream) : stream_(stream) {}
    Step judge(int result);

    std::unique_ptr<ssl_st, Free> stream_;
    std::string failure_;
};

/// What is trusted, and what is shown.
class TlsContext {
public:
    /// Errors: kConfigInvalid for a file that cannot be used.
    static Result<TlsContext> create(const Endpoint& endpoint);

    /// Checks the server's certificate against the endpoint's host. Errors: kConfigInvalid.
    [[nodiscard]] Result<TlsStream> stream(int descriptor, const Endpoint& endpoint) const;

private:
    struct Free {
        void operator()(ssl_ctx_st* context) const;
    };
    explicit TlsContext(ssl_ctx_st* context) : context_(context) {}

    std::unique_ptr<ssl_ctx_st, Free> context_;
};

}  // namespace instep::redis
