#include "tests/conformance/broker_faults.hpp"
#include "tests/support/rabbitmq_broker_server.hpp"

namespace instep::test {

INSTANTIATE_TEST_SUITE_P(Rabbitmq, BrokerFaults,
                         ::testing::Values(BrokerServerCase{"rabbitmq",
                                                            &make_rabbitmq_broker_server}),
                         [](const auto& server) { return server.param.name; });

}  // namespace instep::test
