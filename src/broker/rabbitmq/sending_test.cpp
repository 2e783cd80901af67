#include "sending.hpp"

#include "link.hpp"

#include <gtest/gtest.h>

namespace instep::rabbitmq {
namespace {

class ArrivalsTest : public testing::Test {
protected:
    /// Of one run, unless another is named.
    std::uint64_t take(std::uint64_t number, std::uint64_t confirmed, std::uint64_t run = 1) {
        return arrivals_.take({.run = run, .number = number, .confirmed = confirmed});
    }

    Arrivals arrivals_;
};

TEST_F(ArrivalsTest, MissNothingWhereAllCame) {
    EXPECT_EQ(take(1, 0), 0U);
    EXPECT_EQ(take(2, 0), 0U);
    EXPECT_EQ(take(3, 2), 0U);
    EXPECT_EQ(take(4, 3), 0U);
}

TEST_F(ArrivalsTest, DoNotMissWhatWasBeforeTheFirstThatCame) { EXPECT_EQ(take(100, 99), 0U); }

TEST_F(ArrivalsTest, MissWhatWasConfirmedAndDidNotCome) {
    EXPECT_EQ(take(1, 0), 0U);
    EXPECT_EQ(take(5, 4), 3U);
    EXPECT_EQ(take(6, 4), 0U);
}

TEST_F(ArrivalsTest, MissWhatIsKnownToHaveBeenConfirmedLater) {
    EXPECT_EQ(take(1, 0), 0U);
    EXPECT_EQ(take(4, 0), 0U) << "2 and 3 may have been refused";
    EXPECT_EQ(take(7, 5), 3U) << "2, 3 and 5";
    EXPECT_EQ(take(8, 7), 1U) << "6";
}

TEST_F(ArrivalsTest, PassOverWhatComesAgain) {
    for (const std::uint64_t number : {1U, 2U, 3U, 2U, 3U}) {
        EXPECT_EQ(take(number, 0), 0U);
    }
    EXPECT_EQ(take(4, 3), 0U);
}

TEST_F(ArrivalsTest, KeepRunsApart) {
    EXPECT_EQ(take(1, 0, 1), 0U);
    EXPECT_EQ(take(1, 0, 2), 0U);
    EXPECT_EQ(take(2, 1, 1), 0U);
    EXPECT_EQ(take(3, 2, 2), 1U);
}

TEST_F(ArrivalsTest, ForgetRunsOfWhichNothingCameForLong) {
    EXPECT_EQ(take(1, 0, 1), 0U);
    for (std::uint64_t run = 2; run < 100; ++run) {
        EXPECT_EQ(take(1, 0, run), 0U);
    }
    EXPECT_EQ(take(9, 8, 1), 0U);
}

class SendingTest : public testing::Test {
protected:
    static std::optional<Sending> read(std::string_view text) {
        amqp_table_entry_t header{};
        header.key = bytes_of(kSendingHeader);
        header.value.kind = AMQP_FIELD_KIND_UTF8;
        header.value.value.bytes = bytes_of(text);
        amqp_basic_properties_t properties{};
        properties._flags = AMQP_BASIC_HEADERS_FLAG;
        properties.headers = {.num_entries = 1, .entries = &header};
        return sending_of(properties);
    }
};

TEST_F(SendingTest, IsReadAsItIsWritten) {
    const auto sending = read(to_text({.run = UINT64_MAX, .number = 7, .confirmed = 5}));
    ASSERT_TRUE(sending);
    EXPECT_EQ(sending->run, UINT64_MAX);
    EXPECT_EQ(sending->number, 7U);
    EXPECT_EQ(sending->confirmed, 5U);
}

TEST_F(SendingTest, IsNoneWhereSomethingElseStands) {
    for (const char* text :
         {"", "1", "1 2", "1 2 x", "1 2 2", "-1 2 1", "1 2 99999999999999999999"}) {
        EXPECT_FALSE(read(text)) << text;
    }
    EXPECT_FALSE(sending_of({}));
}

}  // namespace
}  // namespace instep::rabbitmq
