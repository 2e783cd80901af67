#pragma once

#include "instep/base/clock.hpp"
#include "instep/broker/broker.hpp"
#include "instep/concurrency/signal.hpp"
#include "instep/db/connection.hpp"

#include <memory>
#include <optional>
#include <string_view>

namespace instep::embedded_broker {

class EmbeddedPublisher final : public Publisher {
public:
    /// `connection` must be one of Durability::kFull.
    EmbeddedPublisher(std::unique_ptr<Connection> connection, const Clock& clock, Signal& published)
        : connection_(std::move(connection)), clock_(clock), published_(published) {}

    Result<void> declare_topic(std::string_view topic, std::uint32_t partitions) override;
    PublishOutcome publish(const PublishBatch& batch) override;
    Result<std::optional<LastPublished>> last_published(std::string_view topic,
                                                        std::uint32_t partition,
                                                        std::string_view source) override;

private:
    Result<void> store(const PublishBatch& batch);

    std::unique_ptr<Connection> connection_;
    const Clock& clock_;
    Signal& published_;
};

}  // namespace instep::embedded_broker
