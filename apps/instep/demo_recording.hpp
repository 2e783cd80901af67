// What a topic has brought, so that it can be published a second time.
#pragma once

#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace instep::cli {

/// The row events of one topic with one partition. Reads it by a subscription of its own, which
/// stays in the broker.
class TopicRecording {
public:
    /// Subscribes from the topic's begin. `broker` must outlive the recording.
    static Result<TopicRecording> begin(Broker& broker, std::string topic);

    /// Takes in what was published meanwhile.
    Result<void> catch_up();

    /// Publishes the newest `count` events again, in their order, under the name of the publisher
    /// that holds `fencing_epoch` and must not be running.
    Result<void> publish_last(std::size_t count, std::uint64_t fencing_epoch);

private:
    TopicRecording(std::string topic, std::unique_ptr<Publisher> publisher,
                   std::unique_ptr<Subscriber> subscriber)
        : topic_(std::move(topic)),
          publisher_(std::move(publisher)),
          subscriber_(std::move(subscriber)) {}
    void keep(Event event);

    std::string topic_;
    std::unique_ptr<Publisher> publisher_;
    std::unique_ptr<Subscriber> subscriber_;

    /// By rising version: what came again is not among them.
    std::vector<Event> events_;
};

}  // namespace instep::cli
