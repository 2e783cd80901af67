#pragma once

#include "client.hpp"
#include "control.hpp"
#include "instep/broker/broker.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace instep::kafka_broker {

class KafkaPublisher final : public Publisher {
public:
    KafkaPublisher(const Cluster& cluster, Control& control,
                   std::chrono::milliseconds publish_timeout);
    ~KafkaPublisher() override;

    Result<void> declare_topic(std::string_view topic, std::uint32_t partitions) override;
    PublishOutcome publish(const PublishBatch& batch) override;
    Result<std::optional<LastPublished>> last_published(std::string_view topic,
                                                        std::uint32_t partition,
                                                        std::string_view source) override;

private:
    class Producer;
    enum class Batching : std::uint8_t { kOn, kOff };

    PublishOutcome send(const PublishBatch& batch, Batching batching);

    const Cluster& cluster_;
    Control& control_;
    const std::chrono::milliseconds timeout_;

    /// Null after any failure: what it may still have under way must not follow what the next
    /// one sends.
    std::unique_ptr<Producer> producer_;
};

}  // namespace instep::kafka_broker
