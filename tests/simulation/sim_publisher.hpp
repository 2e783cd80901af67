// Publishes to a simulated broker.
#pragma once

#include "instep/broker/broker.hpp"
#include "tests/simulation/sim_broker.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace instep::simulation {

class SimPublisher : public Publisher {
public:
    explicit SimPublisher(SimBroker& broker) : broker_(broker) {}

    Result<void> declare_topic(std::string_view topic, std::uint32_t partitions) override;
    PublishOutcome publish(const PublishBatch& batch) override;
    Result<std::optional<LastPublished>> last_published(std::string_view topic,
                                                        std::uint32_t partition,
                                                        std::string_view source) override;

protected:
    /// Stores one event, or says why not.
    virtual Result<void> store(const PublishBatch& batch, const Event& event);

    /// All is stored, and a confirm is lost.
    virtual PublishOutcome lose_confirm(const PublishBatch& batch);

    [[nodiscard]] SimBroker& broker() const { return broker_; }
    [[nodiscard]] Chaos& chaos() const { return broker_.chaos(); }

private:
    Result<void> store_next(const PublishBatch& batch, std::size_t place);

    SimBroker& broker_;
    std::uint64_t restarts_seen_ = 0;
};

}  // namespace instep::simulation
