#include "instep/telemetry/batch_spans.hpp"

#include "tests/support/recorded_spans.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Pair;
using testing::VariantWith;

class BatchSpansTest : public testing::Test {
protected:
    Event& add(std::string id, std::string trace_parent) {
        Event& event = *events_.emplace_back(std::make_unique<Event>());
        event.id = std::move(id);
        event.trace_parent = std::move(trace_parent);
        return event;
    }

    void record() {
        std::vector<const Event*> batch;
        for (const auto& event : events_) {
            batch.push_back(event.get());
        }
        record_by_trace(telemetry_, messaging_span(telemetry_, "send", "shop.order"), batch);
    }

    SystemClock clock_;
    SeededRandom random_{1};
    MetricsRegistry metrics_;
    test::RecordedSpans spans_;
    Telemetry telemetry_{"shop", clock_, random_, metrics_, &spans_};
    std::vector<std::unique_ptr<Event>> events_;
};

TEST_F(BatchSpansTest, EachTraceHasASpanBelowItsFirstEventsAndLinkedToTheOthers) {
    const TraceContext one = start_trace(random_);
    const TraceContext also_one = child_of(one, random_);
    const TraceContext other = start_trace(random_);
    add("e1", to_trace_parent(one));
    add("e2", to_trace_parent(other));
    add("e3", to_trace_parent(also_one));
    record();
    ASSERT_EQ(spans_.all.size(), 2U);
    const bool is_first = spans_.all[0].parent == one.span;
    const Span& of_one = spans_.all[is_first ? 0 : 1];
    const Span& of_other = spans_.all[is_first ? 1 : 0];
    EXPECT_EQ(of_one.name, "send shop.order");
    EXPECT_EQ(of_one.parent, one.span);
    EXPECT_EQ(trace_id(of_one.context), trace_id(one));
    EXPECT_NE(of_one.context.span, one.span);
    EXPECT_THAT(of_one.links, ElementsAre(also_one));
    EXPECT_THAT(of_one.attributes,
                Contains(Pair("messaging.batch.message_count", VariantWith<std::int64_t>(2))));
    EXPECT_EQ(of_other.parent, other.span);
    EXPECT_THAT(of_other.links, testing::IsEmpty());
    EXPECT_THAT(of_other.attributes,
                Contains(Pair("messaging.message.id", VariantWith<std::string>("e2"))));
}

TEST_F(BatchSpansTest, WhatNobodyRecordsHasNone) {
    TraceContext unsampled = start_trace(random_);
    unsampled.sampled = false;
    add("e1", "");
    add("e2", to_trace_parent(unsampled));
    add("e3", "nonsense");
    record();
    EXPECT_THAT(spans_.all, testing::IsEmpty());
}

TEST_F(BatchSpansTest, LinksAreBounded) {
    const TraceContext trace = start_trace(random_);
    for (std::size_t i = 0; i < kSpanLinksMax + 10; ++i) {
        add("e", to_trace_parent(child_of(trace, random_)));
    }
    record();
    ASSERT_EQ(spans_.all.size(), 1U);
    EXPECT_EQ(spans_.all[0].links.size(), kSpanLinksMax);
}

}  // namespace
}  // namespace instep
