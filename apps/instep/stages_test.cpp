#include "stages.hpp"

#include <gtest/gtest.h>

namespace instep::cli {
namespace {

using std::chrono::seconds;

constexpr Timestamp kNow{std::chrono::hours(1)};

/// An owner "shop" and a reader "mail" of its topic shop.order.
class StagesTest : public testing::Test {
protected:
    StagesTest() : services_(2) {
        services_[0].config.name = "shop";
        services_[1].config.name = "mail";
        for (std::uint32_t partition = 0; partition < 2; ++partition) {
            SubscriptionLag lag;
            lag.subscription = "mail.welcome";
            lag.topic = "shop.order";
            lag.partition = partition;
            lag.events = 5;
            lag.oldest = kNow - seconds(10 + partition);
            services_[0].status.subscriptions.push_back(lag);
            services_[1].status.subscriptions.push_back(lag);
        }
        services_[0].status.topics = {{"shop.order", {7, kNow - seconds(3)}}};
        ParkedKey parked;
        parked.subscription = "mail.welcome";
        parked.events = 4;
        parked.parked = kNow - seconds(60);
        services_[1].status.parked = {parked, parked};
    }

    std::vector<ObservedService> services_;
};

TEST_F(StagesTest, TellsWhereEventsWaitAndCountsEachOnce) {
    const auto all = stages_of(services_);
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].in_log->events, 7U);
    EXPECT_EQ(all[0].at_broker.events, 10U) << "both services tell of the same partitions";
    EXPECT_EQ(all[0].at_broker.oldest, kNow - seconds(11));
    EXPECT_EQ(all[0].blocked_keys, 2U);
    EXPECT_EQ(all[0].blocked->events, 8U);
    EXPECT_EQ(table_of(all, kNow).str(),
              "SUBSCRIPTION  IN LOG  OLDEST  AT BROKER  OLDEST  BLOCKED  KEYS  OLDEST\n"
              "mail.welcome       7   3.0 s         10    11 s        8     2    60 s\n");
}

TEST_F(StagesTest, SaysWhatItCannotKnow) {
    const auto of_reader = stages_of({services_[1]});
    EXPECT_FALSE(of_reader[0].in_log);
    EXPECT_TRUE(of_reader[0].blocked);
    const auto of_owner = stages_of({services_[0]});
    EXPECT_TRUE(of_owner[0].in_log);
    EXPECT_FALSE(of_owner[0].blocked);
    EXPECT_NE(to_json(of_owner[0], kNow).str().find("\"blocked\":null"), std::string::npos);
}

TEST_F(StagesTest, ShowsOnlySubscriptionsForWhichSomethingWaits) {
    for (ObservedService& service : services_) {
        service.status.subscriptions.resize(1);
        service.status.subscriptions[0].events = 0;
        service.status.topics.clear();
        service.status.parked.clear();
    }
    EXPECT_TRUE(table_of(stages_of(services_), kNow).empty());
}

TEST_F(StagesTest, AServiceWhoseNameBeginsLikeAnothersIsAnother) {
    services_[0].config.name = "sho";
    EXPECT_FALSE(stages_of(services_)[0].in_log);
}

}  // namespace
}  // namespace instep::cli
