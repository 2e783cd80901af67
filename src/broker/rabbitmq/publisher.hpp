#pragma once

#include "address.hpp"
#include "instep/broker/broker.hpp"
#include "message.hpp"
#include "reconnect.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace instep::rabbitmq {

class Window;

/// Publishes persistent, mandatory messages in a window and counts what was confirmed.
class RabbitmqPublisher final : public Publisher {
public:
    RabbitmqPublisher(const Address& address, const Clock& clock, Random& random);

    Result<void> declare_topic(std::string_view topic, std::uint32_t partitions) override;
    PublishOutcome publish(const PublishBatch& batch) override;
    Result<std::optional<LastPublished>> last_published(std::string_view topic,
                                                        std::uint32_t partition,
                                                        std::string_view source) override;

private:
    /// What was sent to a partition since something last failed.
    struct Run {
        std::uint64_t id = 0;
        std::uint64_t confirmed = 0;
    };

    Result<void> prepare_channel(Link& link);
    Result<void> send(Link& link, const PublishBatch& batch, Window& window);
    Result<void> take_frames(Link& link, std::chrono::seconds patience, Window& window);
    Result<void> take_frame(Link& link, const amqp_frame_t& frame, Window& window);
    Result<void> judge_returned(Link& link, const PublishBatch& batch, Window& window);
    PublishOutcome check(std::span<const Event> events);
    [[nodiscard]] std::optional<Error> refuse(const Event& event);

    const Address& address_;
    Random& random_;
    Reconnect reconnect_;
    Envelope envelope_;
    Assembly returned_;

    /// By the partition's exchange.
    std::map<std::string, Run, std::less<>> runs_;

    /// The generation of the link whose channel takes messages with confirms; 0: none.
    std::uint64_t prepared_ = 0;

    /// Delivery tag of the last message of the channel.
    std::uint64_t tag_ = 0;

    /// What the server takes, as far as it has said so.
    std::size_t data_bytes_max_ = kEventDataBytesMax;
};

}  // namespace instep::rabbitmq
