#pragma once

#include "endpoint.hpp"
#include "instep/base/error.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace instep::redis {

/// A TCP connection, inside TLS for rediss://. Every wait is bounded by the endpoint's timeout;
/// after any error the connection is of no more use. For one thread at a time.
class Socket {
public:
    /// Errors: kUnavailable; kConfigInvalid for TLS files that cannot be used.
    static Result<std::unique_ptr<Socket>> connect(const Endpoint& endpoint);

    virtual ~Socket() = default;

    /// Errors: kUnavailable.
    virtual Result<void> write(std::string_view bytes) = 0;

    /// Waits for at least one byte. Errors: kUnavailable, also when the server has closed.
    virtual Result<std::size_t> read(std::span<char> room) = 0;

    /// True if read() would not have to wait for the network.
    [[nodiscard]] virtual bool has_bytes() const = 0;

    /// To poll for reading while has_bytes() is false.
    [[nodiscard]] virtual int descriptor() const = 0;
};

}  // namespace instep::redis
