#include "row_events.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep::wal {
namespace {

using pgoutput::Field;
using pgoutput::FieldKind;
using pgoutput::OldTuple;
using testing::IsEmpty;

using Fields = std::vector<Field>;

Field text(std::string_view bytes) { return {FieldKind::kText, bytes}; }
constexpr Field kNothing{FieldKind::kNull, {}};
constexpr Field kSame{FieldKind::kUnchanged, {}};

/// Table "page" with columns id, secret, body; secret is private.
class RowEvents : public testing::Test {
protected:
    RowEvents() : table_(contract()) {
        const std::vector<pgoutput::Column> columns = {{"id"}, {"secret"}, {"body"}};
        pgoutput::Relation relation;
        relation.columns = columns;
        table_.place_columns(relation);
    }

    static Contract contract() {
        Contract contract;
        contract.service = "cms";
        contract.table = "page";
        contract.entity = "page";
        contract.key = {"id"};
        contract.columns = {{"id", "bigint", ValueKind::kInteger, true, false},
                            {"body", "text", ValueKind::kText, false, false}};
        return contract;
    }

    std::vector<TopicEvent> update(OldTuple kind, const Fields& old, const Fields& row) {
        return table_
            .updated(
                {1, kind, old, row},
                [&](const Contract&, const std::vector<std::string>& columns,
                    const std::vector<std::string>& key) {
                    fetched_ = columns;
                    fetched_key_ = key;
                    return std::optional(std::vector<std::optional<std::string>>{"from the table"});
                })
            .value();
    }

    PublishedTable table_;
    std::vector<std::string> fetched_;
    std::vector<std::string> fetched_key_;
};

TEST_F(RowEvents, AnInsertBringsTheAllowedColumnsOnly) {
    const Fields row = {text("7"), text("hush"), text("hello")};
    const auto events = table_.inserted({1, row});
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].topic, "cms.page");
    EXPECT_EQ(events[0].event.type, "page.created");
    EXPECT_EQ(events[0].event.key, "7");
    EXPECT_EQ(events[0].event.schema, "cms.page/1");
    EXPECT_EQ(events[0].event.operation, Operation::kUpsert);
    EXPECT_EQ(events[0].event.data, R"({"id":7,"body":"hello"})");
}

TEST_F(RowEvents, ADeleteBringsTheKey) {
    const Fields old = {text("7"), kNothing, kNothing};
    const auto events = table_.deleted({1, OldTuple::kKey, old});
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].event.type, "page.deleted");
    EXPECT_EQ(events[0].event.operation, Operation::kDelete);
    EXPECT_EQ(events[0].event.data, R"({"id":7})");
}

TEST_F(RowEvents, AnUnchangedColumnIsLeftOut) {
    const auto events = update(OldTuple::kNone, {}, {text("7"), text("x"), kSame});
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].event.type, "page.updated");
    EXPECT_EQ(events[0].event.data, R"({"id":7})");
}

TEST_F(RowEvents, TheFullOldRowHasTheUnchangedColumn) {
    const auto events = update(OldTuple::kFull, {text("7"), text("x"), text("long")},
                               {text("8"), text("x"), kSame});
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[1].event.data, R"({"id":8,"body":"long"})");
    EXPECT_THAT(fetched_, IsEmpty());
}

TEST_F(RowEvents, AnUpdateOfPrivateColumnsIsNoEventWhereTheOldRowIsKnown) {
    EXPECT_THAT(update(OldTuple::kFull, {text("7"), text("x"), text("b")},
                       {text("7"), text("y"), text("b")}),
                IsEmpty());
    EXPECT_EQ(update(OldTuple::kNone, {}, {text("7"), text("y"), text("b")}).size(), 1U);
}

TEST_F(RowEvents, ANewKeyIsADeleteAndACreate) {
    const auto events =
        update(OldTuple::kKey, {text("7"), kNothing, kNothing}, {text("8"), text("x"), text("b")});
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].event.type, "page.deleted");
    EXPECT_EQ(events[0].event.key, "7");
    EXPECT_EQ(events[1].event.type, "page.created");
    EXPECT_EQ(events[1].event.key, "8");
    EXPECT_EQ(events[1].event.data, R"({"id":8,"body":"b"})");
}

TEST_F(RowEvents, ANewKeyFetchesWhatTheLogDoesNotHold) {
    const auto events =
        update(OldTuple::kKey, {text("7"), kNothing, kNothing}, {text("8"), kSame, kSame});
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(fetched_, std::vector<std::string>{"body"});
    EXPECT_EQ(fetched_key_, std::vector<std::string>{"8"});
    EXPECT_EQ(events[1].event.data, R"({"id":8,"body":"from the table"})");
}

}  // namespace
}  // namespace instep::wal
