// What a broker on a server must do when the server or the network fails, as one suite that each
// of them runs:
//
//     INSTANTIATE_TEST_SUITE_P(Redis, BrokerFaults,
//                              ::testing::Values(BrokerServerCase{"redis", &make_redis_server}));
//
// in an executable that links instep_broker_conformance.
#pragma once

#include "instep/broker/broker.hpp"
#include "tests/conformance/key_lists.hpp"
#include "tests/support/broker_server.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <span>
#include <string>

namespace instep::test {

struct BrokerServerCase {
    std::string name;
    std::unique_ptr<BrokerServer> (*make)();
};

void PrintTo(const BrokerServerCase& broker, std::ostream* out);

/// A publisher appends to the lists of some keys, a subscriber checks them, and in between
/// something fails.
class BrokerFaults : public ::testing::TestWithParam<BrokerServerCase> {
protected:
    void SetUp() override;

    BrokerServer& server() { return *server_; }
    Broker& broker() { return *broker_; }

    /// Publishes as a relay would: again from the first event that is not durable, until all are.
    void publish_all(std::span<const Event> events);

    /// The same with the next events of the lists; `failing` is called once before.
    void publish_batch(const std::function<void()>& failing = {});

    /// Receives and acknowledges until every list is complete. `failing` is called before every
    /// call to the broker, with the count of calls so far.
    void drain(const std::function<void(int call)>& failing = {});

    /// One publisher in a thread of its own and one subscriber, `batches` each way, while
    /// `disturb` is called between the subscriber's calls.
    void run_through(int batches, const std::function<void(int call)>& disturb);

    KeyLists& lists() { return lists_; }
    Publisher& publisher() { return *publisher_; }
    Subscriber& subscriber() { return *subscriber_; }

    /// Of this test alone, also where tests share a server.
    [[nodiscard]] const std::string& topic() const { return topic_; }

private:
    static inline int tests = 0;

    const std::string topic_ = "shop.list" + std::to_string(++tests);
    std::unique_ptr<BrokerServer> server_;
    std::unique_ptr<Broker> broker_;
    std::unique_ptr<Publisher> publisher_;
    std::unique_ptr<Subscriber> subscriber_;
    KeyLists lists_;
};

}  // namespace instep::test
