#pragma once

#include "instep/broker/broker.hpp"
#include "tests/support/tcp_proxy.hpp"

#include <memory>
#include <string>

namespace instep::test {

/// A broker's server of the test's own, set to keep what it has confirmed through kill -9.
class BrokerServer {
public:
    virtual ~BrokerServer() = default;

    /// A connection to the server that passes through proxy().
    virtual std::unique_ptr<Broker> connect() = 0;

    /// What a service file would name to connect through proxy().
    [[nodiscard]] virtual std::string url() const = 0;
    virtual TcpProxy& proxy() = 0;

    /// As its administrator would stop it.
    virtual void stop() = 0;

    /// kill -9.
    virtual void kill() = 0;

    /// Starts it again and returns when it takes connections.
    virtual void start() = 0;

    /// What the server says of itself: its queues, its log. Empty where nothing is to be had.
    virtual std::string account() { return {}; }
};

}  // namespace instep::test
