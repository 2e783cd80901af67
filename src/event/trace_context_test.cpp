#include "instep/event/trace_context.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

constexpr std::string_view kExample = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceContext, ReadsTheExampleOfTheSpecification) {
    const TraceContext context = parse_trace_parent(kExample).value();
    EXPECT_EQ(trace_id(context), "0af7651916cd43dd8448eb211c80319c");
    EXPECT_EQ(context.span, 0xb7ad6b7169203331U);
    EXPECT_TRUE(context.sampled);
    EXPECT_EQ(to_trace_parent(context), kExample);
}

TEST(TraceContext, KeepsTheDecisionNotToSample) {
    const auto context =
        parse_trace_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").value();
    EXPECT_FALSE(context.sampled);
    EXPECT_TRUE(to_trace_parent(context).ends_with("-00"));
}

TEST(TraceContext, ReadsWhatItKnowsOfALaterVersion) {
    const std::string later = "cc" + std::string(kExample.substr(2));
    EXPECT_EQ(parse_trace_parent(later), parse_trace_parent(kExample));
    EXPECT_EQ(parse_trace_parent(later + "-what-the-future-holds"), parse_trace_parent(kExample));
}

TEST(TraceContext, RefusesEverythingElse) {
    for (const std::string_view text :
         {"", "00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
          "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          "00-00000000000000000000000000000000-b7ad6b7169203331-01",
          "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
          "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
          "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
          "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
          "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more"}) {
        EXPECT_EQ(parse_trace_parent(text).error().code, ErrorCode::kInvalidArgument) << text;
    }
}

TEST(TraceContext, KeepsTheTraceAndChangesTheSpanFromParentToChild) {
    SeededRandom random(1);
    const TraceContext root = start_trace(random);
    const TraceContext child = child_of(root, random);
    EXPECT_EQ(trace_id(child), trace_id(root));
    EXPECT_NE(child.span, root.span);
    EXPECT_EQ(parse_trace_parent(to_trace_parent(child)), child);
}

TEST(TraceContext, NeverMakesAnIdOfZeros) {
    class OnlyThenOne : public Random {
    public:
        std::uint64_t next() override { return ++calls_ % 4 == 0 ? 1 : 0; }

    private:
        int calls_ = 0;
    };
    OnlyThenOne random;
    EXPECT_TRUE(parse_trace_parent(to_trace_parent(start_trace(random))));
}

}  // namespace
}  // namespace instep
