#include "tests/stress/flaky_broker.hpp"

namespace instep::stress {

namespace {

/// One publication in so many is not confirmed as a whole.
constexpr std::uint64_t kOneIn = 15;

class FlakyPublisher final : public test::PassingPublisher {
public:
    FlakyPublisher(std::unique_ptr<Publisher> inner, Random& random)
        : PassingPublisher(std::move(inner)), random_(random) {}

    PublishOutcome publish(const PublishBatch& batch) override {
        PublishOutcome outcome = PassingPublisher::publish(batch);
        if (outcome.durable > 0 && random_.below(kOneIn) == 0) {
            outcome.durable = random_.below(outcome.durable);
            outcome.failure = Error{ErrorCode::kUnavailable, "the answer was lost"};
        }
        return outcome;
    }

private:
    Random& random_;
};

}  // namespace

Result<std::unique_ptr<Publisher>> FlakyBroker::publisher() {
    INSTEP_TRY_ASSIGN(auto publisher, PassingBroker::publisher());
    return std::make_unique<FlakyPublisher>(std::move(publisher), random_);
}

}  // namespace instep::stress
