#include "instep/event/version.hpp"

#include "instep/base/random.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

/// Small and large fields alike, so that fields often tie and sometimes fill their width.
Version random_version(Random& random) {
    return {static_cast<std::uint32_t>(random.next() >> (32 + random.below(32))),
            random.next() >> random.below(64),
            static_cast<std::uint32_t>(random.next() >> (32 + random.below(32)))};
}

TEST(Sequence, LooksAsDocumented) {
    EXPECT_EQ(to_sequence({1, 42, 0}), "0000000001.00000000000000000042.0000000000");
    EXPECT_EQ(to_sequence({UINT32_MAX, UINT64_MAX, kChunkIndex}),
              "4294967295.18446744073709551615.4294967295");
}

TEST(Sequence, SortsAsTheVersionsDo) {
    SeededRandom random(1);
    for (int i = 0; i < 2000; ++i) {
        const Version a = random_version(random);
        const Version b = random_version(random);
        EXPECT_EQ(a <=> b, to_sequence(a) <=> to_sequence(b));
        EXPECT_EQ(a <=> b, to_bytes(a) <=> to_bytes(b));
    }
}

TEST(Sequence, ReadsBackWhateverItWrote) {
    SeededRandom random(2);
    for (int i = 0; i < 2000; ++i) {
        const Version version = random_version(random);
        EXPECT_EQ(parse_sequence(to_sequence(version)).value(), version);
        EXPECT_EQ(version_from_bytes(to_bytes(version)).value(), version);
    }
}

TEST(Sequence, RefusesEverythingElse) {
    for (const std::string_view text : {"", "42", "0000000001.00000000000000000042.000000000",
                                        "0000000001.00000000000000000042.00000000000",
                                        "0000000001-00000000000000000042.0000000000",
                                        "0000000001.00000000000000000042:0000000000",
                                        "000000000x.00000000000000000042.0000000000",
                                        "-000000001.00000000000000000042.0000000000",
                                        "4294967296.00000000000000000042.0000000000",
                                        "0000000001.18446744073709551616.0000000000"}) {
        EXPECT_EQ(parse_sequence(text).error().code, ErrorCode::kInvalidArgument) << text;
    }
}

TEST(Version, ComparesEpochThenBatchThenIndex) {
    EXPECT_LT((Version{1, 9, 9}), (Version{2, 0, 0}));
    EXPECT_LT((Version{1, 1, 9}), (Version{1, 2, 0}));
    EXPECT_LT((Version{1, 1, 1}), (Version{1, 1, kChunkIndex}));
}

TEST(Version, RefusesStoredBytesOfAnotherLength) {
    EXPECT_EQ(version_from_bytes("short").error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(version_from_bytes(std::string(17, 'x')).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace instep
