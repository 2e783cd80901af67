#pragma once

#include "instep/direct/broker.hpp"

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace instep::direct {

/// Appends to the logs of other services; what goes to the own one is there.
class DirectPublisher final : public Publisher {
public:
    /// `owners` must outlive the publisher.
    DirectPublisher(std::string service, std::span<const DirectOwner> owners)
        : service_(std::move(service)), owners_(owners) {}

    Result<void> declare_topic(std::string_view topic, std::uint32_t partitions) override;
    PublishOutcome publish(const PublishBatch& batch) override;
    Result<std::optional<LastPublished>> last_published(std::string_view topic,
                                                        std::uint32_t partition,
                                                        std::string_view source) override;

private:
    Result<void> append(const PublishBatch& batch);

    const std::string service_;
    const std::span<const DirectOwner> owners_;

    /// By service; made when the first event goes there.
    std::map<std::string, std::unique_ptr<Connection>, std::less<>> connections_;
};

}  // namespace instep::direct
