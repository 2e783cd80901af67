#pragma once

#include "connection.hpp"
#include "instep/broker/broker.hpp"
#include "instep/event/cloudevents.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace instep::redis {

class RedisPublisher final : public Publisher {
public:
    /// Borrows all three.
    RedisPublisher(const Endpoint& endpoint, const Clock& clock, Random& random)
        : endpoint_(endpoint), link_(endpoint, clock, random) {}

    Result<void> declare_topic(std::string_view topic, std::uint32_t partitions) override;
    PublishOutcome publish(const PublishBatch& batch) override;
    Result<std::optional<LastPublished>> last_published(std::string_view topic,
                                                        std::uint32_t partition,
                                                        std::string_view source) override;

private:
    Result<void> publish_parts(const PublishBatch& batch, std::span<const Event> events,
                               std::size_t& published);
    void write_guard(Connection& connection, const PublishBatch& batch,
                     std::span<const Event> part) const;
    Result<void> read_guard(Connection& connection, const PublishBatch& batch,
                            std::span<const Event> part) const;
    void write_part(Connection& connection, const PublishBatch& batch, std::span<const Event> part);
    Result<bool> read_part(Connection& connection, const PublishBatch& batch,
                           std::span<const Event> part);
    Result<void> leave_room(const PublishBatch& batch, std::string_view last_id);
    Result<Reply> read_good(Connection& connection) const;
    Result<void> await_replicas();

    const Endpoint& endpoint_;
    Link link_;

    /// Of an event; kept for their memory.
    AttributeViews attributes_;
    std::string fields_;
};

}  // namespace instep::redis
