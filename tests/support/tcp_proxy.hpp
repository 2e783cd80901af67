#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace instep::test {

/// Stands between clients and a server on loopback and does to their connections what networks
/// do. It passes bytes on until it is told otherwise. Safe to call from any thread; what is set
/// holds when the call returns, for connections that are open and for later ones.
class TcpProxy {
public:
    struct Counts {
        std::uint64_t accepted = 0;
        std::uint64_t cut = 0;
        std::uint64_t bytes_to_server = 0;
        std::uint64_t bytes_to_client = 0;
    };

    /// Listens on a free port. `seed` decides every random choice. Throws std::system_error if it
    /// cannot listen.
    explicit TcpProxy(int server_port, std::uint64_t seed = 1);
    TcpProxy(const TcpProxy&) = delete;
    TcpProxy& operator=(const TcpProxy&) = delete;
    ~TcpProxy();

    [[nodiscard]] int port() const;
    [[nodiscard]] Counts counts() const;

    /// Resets every connection.
    void cut();

    /// Resets every connection and, until restore(), each new one.
    void take_down();

    /// Connections stay open and nothing passes until restore(): half-open, or a stalled peer.
    void stall();

    /// Each read is held back for a random time of at most `longest`.
    void delay(std::chrono::microseconds longest);

    /// At most so many bytes a second in each direction of each connection; 0: no limit.
    void throttle(std::size_t bytes_per_second);

    /// The `n`th read from the server from now on (1: the next) does not reach the client, and its
    /// connection is reset: what it acknowledged is done, and the client does not know.
    void lose_answer(std::uint64_t n);

    /// Resets a connection after a random number of bytes, `mean` on average; 0: no more.
    void cut_at_random(std::size_t mean_bytes);

    /// Ends all of the above.
    void restore();

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace instep::test
