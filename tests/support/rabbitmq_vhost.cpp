#include "tests/support/rabbitmq_vhost.hpp"

namespace instep::test {

RabbitmqVhost::RabbitmqVhost(RabbitmqServer& server) : server_(server) {
    static int made = 0;
    name_ = "test" + std::to_string(++made);
    // One call instead of add_vhost and set_permissions: each starts an Erlang of its own.
    const std::string vhost = "<<\"" + name_ + "\">>";
    server_.control(
        "eval 'rabbit_vhost:add(" + vhost +
        ", <<\"test\">>), rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, " + vhost +
        ", <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>).'");
}

}  // namespace instep::test
