#include "instep/base/uuid.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::chrono_literals;

TEST(UuidV7, MatchesTheExampleOfRfc9562) {
    const Timestamp time{std::chrono::milliseconds{0x017F22E279B0}};
    EXPECT_EQ(uuid_v7_from(time, 0xCC3, 0x18C4DC0C0C07398F),
              "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

TEST(UuidV7, KeepsVersionAndVariantWhateverTheRandomBits) {
    const std::string id = uuid_v7_from(Timestamp{1h}, UINT64_MAX, UINT64_MAX);
    EXPECT_EQ(id, "00000036-ee80-7fff-bfff-ffffffffffff");
}

TEST(UuidV7, SortsByTime) {
    SeededRandom random(1);
    Timestamp time{1h};
    std::string before = uuid_v7_from(time, random.next(), random.next());
    for (int i = 0; i < 1000; ++i) {
        time += std::chrono::milliseconds(1 + random.below(100'000));
        const std::string after = uuid_v7_from(time, random.next(), random.next());
        EXPECT_LT(before, after);
        before = after;
    }
}

TEST(UuidV7, DiffersWithinOneMillisecond) {
    SeededRandom random(2);
    const SystemClock clock;
    EXPECT_NE(make_uuid_v7(clock, random), make_uuid_v7(clock, random));
}

}  // namespace
}  // namespace instep
