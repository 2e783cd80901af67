#include "instep/bus/bus_transaction.hpp"

#include "tests/support/sync_system.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shop {

struct OrderPlaced {
    static constexpr std::string_view kType = "order.placed";
    static constexpr std::string_view kSchema = "urn:order.placed:1";
    std::string order_id;
};
INSTEP_FIELDS(OrderPlaced, order_id)

}  // namespace shop

namespace instep {
namespace {

using shop::OrderPlaced;
using test::rows_of;
using testing::ElementsAre;
using testing::IsEmpty;

class BusTransactionTest : public testing::Test {
protected:
    Transaction begin() {
        return std::move(*Transaction::begin(*system.owner, TransactionMode::kWrite));
    }

    [[nodiscard]] std::vector<std::string> logged() const {
        return rows_of(*system.owner, "SELECT topic, key, type FROM instep_log ORDER BY seq");
    }

    test::SyncSystem system;
    Bus bus{system.logger};
    std::vector<std::string> heard;
    Listening listening = bus.listen<OrderPlaced>(
        "orders", [this](const OrderPlaced& order) { heard.push_back(order.order_id); });
};

TEST_F(BusTransactionTest, ListenersHearWhatHasCommitted) {
    Transaction transaction = begin();
    BusTransaction events(bus, transaction);
    ASSERT_TRUE(events.publish("shop.order", "o-1", OrderPlaced{"o-1"}));
    ASSERT_TRUE(events.publish("shop.order", "o-2", OrderPlaced{"o-2"}));
    EXPECT_THAT(heard, IsEmpty()) << "nothing is committed yet";
    EXPECT_THAT(events.commit().value(), IsEmpty());
    EXPECT_THAT(heard, ElementsAre("o-1", "o-2"));
    EXPECT_THAT(logged(),
                ElementsAre("shop.order|o-1|order.placed", "shop.order|o-2|order.placed"));
}

TEST_F(BusTransactionTest, NobodyHearsWhatIsRolledBack) {
    {
        Transaction transaction = begin();
        BusTransaction events(bus, transaction);
        ASSERT_TRUE(events.publish("shop.order", "o-1", OrderPlaced{"o-1"}));
    }
    EXPECT_THAT(heard, IsEmpty());
    EXPECT_THAT(logged(), IsEmpty());
}

TEST_F(BusTransactionTest, NobodyHearsWhereTheCommitFails) {
    system.owner_sql(
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);"
        "CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)");
    ASSERT_TRUE(system.owner->execute_script("PRAGMA foreign_keys = ON"));
    Transaction transaction = begin();
    ASSERT_TRUE(transaction.execute("INSERT INTO children VALUES (7)"));
    BusTransaction events(bus, transaction);
    ASSERT_TRUE(events.publish("shop.order", "o-1", OrderPlaced{"o-1"}));
    EXPECT_FALSE(events.commit());
    EXPECT_THAT(heard, IsEmpty());
}

TEST_F(BusTransactionTest, AListenersFailureUndoesNothing) {
    const Listening fails = bus.listen<OrderPlaced>(
        "fails", [](const OrderPlaced&) { throw std::runtime_error("no"); });
    Transaction transaction = begin();
    BusTransaction events(bus, transaction);
    ASSERT_TRUE(events.publish("shop.order", "o-1", OrderPlaced{"o-1"}));
    EXPECT_EQ(events.commit()->front().listener, "fails");
    EXPECT_THAT(logged(), testing::SizeIs(1));
}

TEST_F(BusTransactionTest, NobodyHearsWhatViolatesTheContract) {
    const auto contract =
        PublishContract::compile(R"({"$defs": {"order.placed": {"x-topic": "shop.order"}}})");
    Transaction transaction = begin();
    BusTransaction events(bus, transaction, &*contract);
    EXPECT_EQ(events.publish("shop.orders", "o-1", OrderPlaced{"o-1"}).error().code,
              ErrorCode::kRejected);
    ASSERT_TRUE(events.publish("shop.order", "o-2", OrderPlaced{"o-2"}));
    EXPECT_THAT(events.commit().value(), IsEmpty());
    EXPECT_THAT(heard, ElementsAre("o-2"));
    EXPECT_THAT(logged(), ElementsAre("shop.order|o-2|order.placed"));
}

TEST_F(BusTransactionTest, RefusesWhatTheLogRefuses) {
    Transaction transaction = begin();
    BusTransaction events(bus, transaction);
    EXPECT_EQ(events.publish("shop.order", "", OrderPlaced{"o-1"}).error().code,
              ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace instep
