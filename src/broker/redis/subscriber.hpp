#pragma once

#include "instep/broker/broker.hpp"
#include "instep/concurrency/wake_up.hpp"
#include "membership.hpp"
#include "stream_reader.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

namespace instep::redis {

class RedisSubscriber final : public Subscriber {
public:
    /// Borrows all but the identity.
    RedisSubscriber(const Endpoint& endpoint, const Clock& clock, Random& random,
                    MemberIdentity identity)
        : membership_(endpoint, clock, random, std::move(identity)),
          reader_(endpoint, clock, random) {}

    /// Gives its partitions up; if that fails they are free when the member's time runs out.
    ~RedisSubscriber() override;

    Result<std::vector<Assignment>> assignments() override;
    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override;
    Result<void> acknowledge(std::uint32_t partition, Position position) override;
    Result<void> seek(std::uint32_t partition, Position position) override;
    Result<void> rewind(std::uint32_t partition, Position position) override;
    void wait(std::stop_token stop, std::chrono::milliseconds patience) override;

private:
    using Share = std::vector<std::pair<std::uint32_t, std::uint64_t>>;

    [[nodiscard]] Share serving();
    Result<void> ask(std::chrono::milliseconds patience);
    Held* held_for(const Delivery& delivery);
    void forget_answer();

    Membership membership_;
    StreamReader reader_;
    WakeUp stopped_;

    /// Partitions and epochs that the answer under way is about.
    Share asked_for_;

    /// Read and not yet returned, because the call's bounds were reached.
    std::optional<Delivery> next_;

    /// What a question should bring at once.
    std::size_t events_wanted_ = 500;
    std::size_t bytes_wanted_ = 1U << 20;

    /// A running mean, which decides how many entries to ask for.
    std::size_t event_bytes_mean_ = 8192;
};

}  // namespace instep::redis
