// Publishers and subscribers that pass everything on; bugs change one call.
#pragma once

#include "instep/broker/broker.hpp"

#include <memory>
#include <utility>
#include <vector>

namespace instep::simulation {

class PassingPublisher : public Publisher {
public:
    explicit PassingPublisher(std::unique_ptr<Publisher> inner) : inner_(std::move(inner)) {}

    Result<void> declare_topic(std::string_view topic, std::uint32_t partitions) override {
        return inner_->declare_topic(topic, partitions);
    }
    PublishOutcome publish(const PublishBatch& batch) override { return inner_->publish(batch); }
    Result<std::optional<LastPublished>> last_published(std::string_view topic,
                                                        std::uint32_t partition,
                                                        std::string_view source) override {
        return inner_->last_published(topic, partition, source);
    }

private:
    std::unique_ptr<Publisher> inner_;
};

class PassingSubscriber : public Subscriber {
public:
    explicit PassingSubscriber(std::unique_ptr<Subscriber> inner) : inner_(std::move(inner)) {}

    Result<std::vector<Assignment>> assignments() override { return inner_->assignments(); }
    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override {
        return inner_->receive(events_max, bytes_max);
    }
    Result<void> acknowledge(std::uint32_t partition, Position position) override {
        return inner_->acknowledge(partition, position);
    }
    Result<void> seek(std::uint32_t partition, Position position) override {
        return inner_->seek(partition, position);
    }
    void wait(std::stop_token stop, std::chrono::milliseconds patience) override {
        inner_->wait(std::move(stop), patience);
    }

private:
    std::unique_ptr<Subscriber> inner_;
};

/// Acknowledges events when they arrive.
class EagerSubscriber final : public PassingSubscriber {
public:
    using PassingSubscriber::PassingSubscriber;

    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override {
        auto deliveries = PassingSubscriber::receive(events_max, bytes_max);
        if (deliveries && !deliveries->empty()) {
            const Delivery& last = deliveries->back();
            INSTEP_TRY(PassingSubscriber::acknowledge(last.partition, last.position));
        }
        return deliveries;
    }
};

template <class Wrapper>
auto wrap_subscriber() {
    return [](std::unique_ptr<Subscriber> inner) -> std::unique_ptr<Subscriber> {
        return std::make_unique<Wrapper>(std::move(inner));
    };
}

/// The condition under which the upserts of a replica overwrite a row, as far as all have it.
inline constexpr std::string_view kGuard = "= excluded.instep_version WHERE ";
}  // namespace instep::simulation
