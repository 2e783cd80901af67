#include "boundary_intake.hpp"

#include "instep/log/boundary.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace instep {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class BoundaryIntakeTest : public testing::Test {
protected:
    Delivery event(std::uint64_t batch = 1) {
        Delivery delivery;
        delivery.position = ++position_;
        delivery.event.version = {1, batch, 0};
        delivery.event.type = "user.updated";
        delivery.event.operation = Operation::kUpsert;
        delivery.event.data = "0123456789";
        return delivery;
    }

    Delivery boundary(std::uint64_t batch = 1) {
        Delivery delivery;
        delivery.position = ++position_;
        delivery.event = boundary_behind("iam", {}, {1, batch, 0}, {});
        return delivery;
    }

    /// As of the end of the log, whatever transaction stands around it.
    Delivery chunk(std::uint64_t batch) {
        Delivery delivery = event(batch);
        delivery.event.version.index = kChunkIndex;
        delivery.event.operation = Operation::kChunk;
        return delivery;
    }

    std::vector<Position> taken(std::vector<Delivery> received) {
        std::vector<Position> positions;
        for (const Delivery& delivery : intake.take(std::move(received))) {
            positions.push_back(delivery.position);
        }
        return positions;
    }

    BoundaryIntake intake{4, 1000};

private:
    Position position_ = 0;
};

TEST_F(BoundaryIntakeTest, HoldsWhatIsNotWhole) {
    EXPECT_THAT(taken({event(), event()}), IsEmpty());
    EXPECT_THAT(taken({event(), boundary(), event()}), ElementsAre(1, 2, 3, 4));
    EXPECT_THAT(taken({boundary()}), ElementsAre(5, 6));
}

TEST_F(BoundaryIntakeTest, LetsGoUpToTheLastBoundary) {
    EXPECT_THAT(taken({event(), boundary(), event(), boundary(), event()}),
                ElementsAre(1, 2, 3, 4));
}

TEST_F(BoundaryIntakeTest, LetsPassWhatIsTooLargeAndSaysWhereItEnds) {
    EXPECT_THAT(taken({event(), boundary(), event(), event()}), ElementsAre(1, 2));
    EXPECT_THAT(taken({event(), event(), event()}), IsEmpty());
    EXPECT_EQ(intake.far_boundary(), std::nullopt);
    EXPECT_THAT(taken({event(), boundary(), event()}), IsEmpty());
    EXPECT_EQ(intake.far_boundary(), 9U);
    intake.forget();
    EXPECT_EQ(intake.far_boundary(), std::nullopt);
    EXPECT_THAT(taken({event(), boundary()}), ElementsAre(11, 12));
}

TEST_F(BoundaryIntakeTest, AnOlderBoundaryEndsNoNewerTransaction) {
    EXPECT_THAT(taken({event(5), boundary(5)}), ElementsAre(1, 2));
    EXPECT_THAT(taken({event(6), boundary(5), event(7), boundary(5)}), IsEmpty());
    EXPECT_THAT(taken({boundary(7), event(8)}), ElementsAre(3, 4, 5, 6, 7));
}

TEST_F(BoundaryIntakeTest, AChunkWaitsForNoBoundaryOfItsOwn) {
    EXPECT_THAT(taken({event(5), chunk(9), boundary(5)}), ElementsAre(1, 2, 3));
}

TEST_F(BoundaryIntakeTest, WhatIsLetPassEndsAtNoOlderBoundaryEither) {
    EXPECT_THAT(taken({event(6), event(6), event(6), event(6), event(6)}), IsEmpty());
    EXPECT_THAT(taken({boundary(5), event(7), boundary(6)}), IsEmpty());
    EXPECT_EQ(intake.far_boundary(), std::nullopt);
    EXPECT_THAT(taken({boundary(7)}), IsEmpty());
    EXPECT_EQ(intake.far_boundary(), 9U);
}

TEST_F(BoundaryIntakeTest, CountsBytesToo) {
    BoundaryIntake small{1000, 25};
    EXPECT_THAT(small.take({event(), event(), event()}), IsEmpty());
    EXPECT_THAT(small.take({boundary()}), IsEmpty());
    EXPECT_EQ(small.far_boundary(), 4U);
}

}  // namespace
}  // namespace instep
