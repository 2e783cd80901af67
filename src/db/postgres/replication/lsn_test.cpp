#include "instep/db/postgres/replication/lsn.hpp"

#include <gmock/gmock.h>

namespace instep {

namespace {

TEST(LsnText, IsWhatPostgresWrites) {
    EXPECT_EQ(format_lsn(Lsn{0}), "0/0");
    EXPECT_EQ(format_lsn(Lsn{0x16B3748}), "0/16B3748");
    EXPECT_EQ(format_lsn(Lsn{0xAB'0000'00FFU}), "AB/FF");
    EXPECT_EQ(format_lsn(Lsn{~0ULL}), "FFFFFFFF/FFFFFFFF");
}

TEST(LsnText, ReadsWhatItWrote) {
    for (const std::uint64_t value : {0ULL, 1ULL, 0x1'0000'0000ULL, 0x16B3748ULL, ~0ULL}) {
        EXPECT_EQ(parse_lsn(format_lsn(Lsn{value})).value(), Lsn{value});
    }
    EXPECT_EQ(parse_lsn("a/ff").value(), parse_lsn("A/FF").value());
    EXPECT_EQ(parse_lsn("00000000/016B3748").value(), Lsn{0x16B3748});
}

TEST(LsnText, RefusesEverythingElse) {
    for (const char* text : {"", "/", "1/", "/1", "16B3748", "0/16B3748 ", " 0/1", "0x1/1", "-1/1",
                             "+1/1", "0/000000001", "1/2/3", "g/1"}) {
        ASSERT_FALSE(parse_lsn(text).has_value()) << text;
        EXPECT_EQ(parse_lsn(text).error().code, ErrorCode::kInvalidArgument);
    }
}

TEST(LsnOrder, IsThatOfTheLog) {
    EXPECT_LT(parse_lsn("0/FFFFFFFF").value(), parse_lsn("1/0").value());
    EXPECT_LT(Lsn{}, Lsn{1});
}

}  // namespace

}  // namespace instep
