#include "tests/stress/flaky_broker.hpp"

namespace instep::stress {

namespace {

/// One publication in so many is not confirmed as a whole.
constexpr std::uint64_t kOneIn = 15;

class FlakyPublisher final : public Publisher {
public:
    FlakyPublisher(std::unique_ptr<Publisher> inner, Random& random)
        : inner_(std::move(inner)), random_(random) {}

    Result<void> declare_topic(std::string_view topic, std::uint32_t partitions) override {
        return inner_->declare_topic(topic, partitions);
    }

    PublishOutcome publish(const PublishBatch& batch) override {
        PublishOutcome outcome = inner_->publish(batch);
        if (outcome.durable > 0 && random_.below(kOneIn) == 0) {
            outcome.durable = random_.below(outcome.durable);
            outcome.failure = Error{ErrorCode::kUnavailable, "the answer was lost"};
        }
        return outcome;
    }

    Result<std::optional<LastPublished>> last_published(std::string_view topic,
                                                        std::uint32_t partition,
                                                        std::string_view source) override {
        return inner_->last_published(topic, partition, source);
    }

private:
    std::unique_ptr<Publisher> inner_;
    Random& random_;
};

}  // namespace

Result<std::unique_ptr<Publisher>> FlakyBroker::publisher() {
    INSTEP_TRY_ASSIGN(auto publisher, inner_.publisher());
    return std::make_unique<FlakyPublisher>(std::move(publisher), random_);
}

}  // namespace instep::stress
