#include "broker_problems.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace instep::cli {
namespace {

/// An owner of iam.user, and a service "crm" with a replica of it and code for it.
class BrokerProblemsTest : public testing::Test {
protected:
    BrokerProblemsTest() : services_(2) {
        services_[0].config.name = "iam";
        services_[1].config.name = "crm";
        ReplicaDefinition replica;
        replica.service = "crm";
        replica.topic = "iam.user";
        replica.table = "users";
        services_[1].config.replicas = {replica};
        SubscriptionEntry entry;
        entry.name = "welcome";
        services_[1].config.subscriptions = {entry};
        health_.sentence = "The replica is caught up.";
        for (const char* name : {"relay of iam", "crm.users"}) {
            FlowHealth flow;
            flow.name = name;
            flow.state = "caught up";
            health_.flows.push_back(flow);
        }
    }

    void add(std::initializer_list<const char*> subjects) {
        std::vector<BrokerProblem> problems;
        for (const char* subject : subjects) {
            problems.push_back({"amqp://host/", subject, "is missing", "start crm again"});
        }
        add_problems(health_, problems, services_);
    }

    std::string state(std::string_view name) {
        const auto flow = std::ranges::find(health_.flows, name, &FlowHealth::name);
        return flow == health_.flows.end() ? "" : flow->state;
    }

    std::vector<ObservedService> services_;
    Health health_;
};

TEST_F(BrokerProblemsTest, OneOfAQueueBreaksItsFlowOnly) {
    add({"queue crm.users.0"});
    EXPECT_FALSE(health_.healthy);
    EXPECT_FALSE(health_.caught_up);
    EXPECT_EQ(state("crm.users"), "broken");
    EXPECT_EQ(state("relay of iam"), "caught up");
    EXPECT_EQ(health_.sentence, "crm.users is broken: queue crm.users.0 is missing.");
}

TEST_F(BrokerProblemsTest, AreToldOfFlowsThatNoLagTellsOf) {
    add({"queue crm.welcome.1", "exchange iam.user.p0"});
    EXPECT_EQ(state("crm.welcome"), "broken");
    EXPECT_EQ(state("relay of iam"), "broken");
    EXPECT_EQ(health_.sentence,
              "crm.welcome is broken: queue crm.welcome.1 is missing. relay of iam is broken: "
              "exchange iam.user.p0 is missing.");
}

TEST_F(BrokerProblemsTest, OfOthersAndOfSettingsBreakNoFlow) {
    add({"queue my-crm.users.0", "queue crm2.users.0", "appendfsync"});
    EXPECT_TRUE(health_.healthy);
    EXPECT_EQ(health_.sentence, "The replica is caught up.");
}

TEST_F(BrokerProblemsTest, AreShownWithWhatToDo) {
    EXPECT_FALSE(table_of({{"amqp://host/", "queue x", "is missing", "make it"}}).empty());
    EXPECT_TRUE(table_of({}).empty());
}

}  // namespace
}  // namespace instep::cli
