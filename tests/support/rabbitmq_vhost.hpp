#pragma once

#include "tests/support/rabbitmq_server.hpp"

#include <string>

namespace instep::test {

/// A vhost of the test's own on a server, with all rights for "guest": topics and subscriptions
/// in it have nothing to do with those of other tests.
class RabbitmqVhost {
public:
    explicit RabbitmqVhost(RabbitmqServer& server = RabbitmqServer::shared());

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] std::string url() const { return server_.url(name_); }
    [[nodiscard]] RabbitmqServer& server() const { return server_; }

private:
    RabbitmqServer& server_;
    std::string name_;
};

}  // namespace instep::test
