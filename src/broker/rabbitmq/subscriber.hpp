#pragma once

#include "address.hpp"
#include "held.hpp"
#include "instep/base/clock.hpp"
#include "instep/base/random.hpp"
#include "instep/broker/broker.hpp"
#include "membership.hpp"
#include "reconnect.hpp"
#include "wakeup.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace instep::rabbitmq {

/// A thread of its own reads what arrives, up to a bound, and keeps the connection alive while
/// the member works; it closes it when the member calls nothing for its time-out.
class RabbitmqSubscriber final : public Subscriber {
public:
    /// What the streams of the topic hold.
    using FindKept = std::function<Result<std::vector<KeptEvents>>()>;

    RabbitmqSubscriber(const Address& address, const Clock& clock, Random& random,
                       SubscribeOptions options, FindKept find_kept);

    /// Gives everything up.
    ~RabbitmqSubscriber() override;

    Result<std::vector<Assignment>> assignments() override;
    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override;
    Result<void> acknowledge(std::uint32_t partition, Position position) override;
    Result<void> seek(std::uint32_t partition, Position position) override;
    Result<void> rewind(std::uint32_t partition, Position position) override;
    void wait(std::stop_token stop, std::chrono::milliseconds patience) override;

private:
    using Lock = std::unique_lock<std::mutex>;
    struct Room;

    Result<void> refresh(Link& link);
    Result<void> learn_partitions(Link& link);
    Result<void> share(Link& link);
    Result<bool> take(Link& link, std::uint32_t partition);
    Result<void> start(Link& link, Held& held);
    Result<void> consume(Link& link, const Held& held);
    Result<void> begin_again(Held again);
    Result<void> go_on_from_past(Lock& lock);
    Result<std::vector<KeptEvents>> find_kept(Lock& lock);
    Result<void> release(Link& link, std::uint32_t partition);
    Result<void> bind_held(Link& link);
    Result<void> tell_missed();
    Result<Held*> find(std::uint32_t partition);
    Result<std::uint64_t> tag_of(const Held& held, Position position) const;
    [[nodiscard]] bool is_past_due() const;
    [[nodiscard]] std::chrono::microseconds next_call_due() const;
    [[nodiscard]] bool is_refresh_due() const;
    [[nodiscard]] bool has_missed() const;
    [[nodiscard]] bool has_deliverable() const;
    void take_ready(Held& held, Room& room, std::vector<Delivery>& deliveries);
    void forget_link();

    void read_until_stopped(const std::stop_token& stop);
    bool read_some();
    Result<void> take_queued(Link& link);
    Result<void> take_frame(Link& link, const amqp_frame_t& frame);
    Result<void> take_control_frame(Link& link, const amqp_frame_t& frame);
    Result<void> take_message(Link& link, Held& held);
    Result<bool> is_in_stretch(Link& link, Held& held, const Delivery& delivery);
    Result<void> answer(Link& link);
    void lose(Link& link, std::uint32_t partition, Error error);
    void step_down_if_silent();

    const Address& address_;
    const Clock& clock_;
    const SubscribeOptions options_;
    const FindKept find_kept_;

    std::mutex mutex_;
    std::condition_variable_any changed_;
    Reconnect reconnect_;
    std::uint64_t generation_ = 0;
    Membership membership_;
    std::uint32_t partitions_ = 0;
    std::map<std::uint32_t, Held> held_;

    /// What ended a holding, for assignments() to say.
    std::optional<Error> failure_;

    /// Events that were published and did not come to a queue, for assignments() to say.
    std::uint64_t missed_ = 0;
    std::chrono::microseconds tell_missed_at_{0};

    /// Bytes of all `ready` events; above the bound nothing more is read.
    std::size_t ready_bytes_ = 0;

    /// Where the next receive() begins, so that one busy partition does not starve the rest.
    std::uint32_t turn_ = 0;

    std::chrono::microseconds refresh_at_{0};
    std::uint32_t hurried_refreshes_ = 0;
    std::chrono::microseconds called_at_{0};
    bool is_waiting_ = false;

    /// A question that is arriving on the control channel.
    Assembly question_;
    std::uint32_t asked_partition_ = 0;
    bool is_question_ = false;

    Wakeup wakeup_;
    std::jthread reader_;
};

}  // namespace instep::rabbitmq
