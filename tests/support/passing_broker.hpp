// A broker, its publishers and its subscribers that pass everything on; tests change single calls.
#pragma once

#include "instep/broker/broker.hpp"

#include <memory>
#include <utility>
#include <vector>

namespace instep::test {

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
    Result<void> rewind(std::uint32_t partition, Position position) override {
        return inner_->rewind(partition, position);
    }
    void wait(std::stop_token stop, std::chrono::milliseconds patience) override {
        inner_->wait(std::move(stop), patience);
    }

private:
    std::unique_ptr<Subscriber> inner_;
};

class PassingBroker : public Broker {
public:
    explicit PassingBroker(Broker& inner) : inner_(inner) {}

    [[nodiscard]] BrokerFeatures features() const override { return inner_.features(); }
    [[nodiscard]] std::string_view display_url() const override { return inner_.display_url(); }
    Result<std::unique_ptr<Publisher>> publisher() override { return inner_.publisher(); }
    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override {
        return inner_.subscribe(std::move(options));
    }
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override {
        return inner_.lag(topic);
    }
    Result<std::vector<KeptEvents>> kept(std::string_view topic) override {
        return inner_.kept(topic);
    }
    Result<std::uint64_t> trim(Timestamp before) override { return inner_.trim(before); }

private:
    Broker& inner_;
};

}  // namespace instep::test
