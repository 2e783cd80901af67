#pragma once

#include "instep/broker/broker.hpp"
#include "instep/concurrency/signal.hpp"
#include "instep/db/connection.hpp"
#include "membership.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

namespace instep::embedded_broker {

class EmbeddedSubscriber final : public Subscriber {
public:
    /// Both connections may be of Durability::kProcess: what a power failure undoes of
    /// acknowledgements is delivered again. `impatient` does not wait for a lock.
    EmbeddedSubscriber(std::unique_ptr<Connection> connection,
                       std::unique_ptr<Connection> impatient, const Clock& clock,
                       MemberIdentity identity, std::chrono::milliseconds idle_poll_max,
                       Signal& published);

    /// Gives its partitions up; if that fails they are free when the member's time runs out.
    ~EmbeddedSubscriber() override;

    Result<std::vector<Assignment>> assignments() override;
    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override;
    Result<void> acknowledge(std::uint32_t partition, Position position) override;
    Result<void> seek(std::uint32_t partition, Position position) override;
    Result<void> rewind(std::uint32_t partition, Position position) override;
    void wait(std::stop_token stop, std::chrono::milliseconds patience) override;

private:
    struct Room;

    Result<void> read_heads(Transaction& transaction);
    Result<void> read_partition(Transaction& transaction, Held& held, Room& room,
                                std::vector<Delivery>& deliveries);
    Result<void> store_done(Connection& connection);
    Result<bool> has_news();
    [[nodiscard]] bool has_unread(const Held& held) const;

    std::unique_ptr<Connection> connection_;
    std::unique_ptr<Connection> impatient_;
    const Clock& clock_;
    MemberIdentity identity_;
    Membership membership_;
    std::chrono::milliseconds idle_poll_max_;
    Signal& published_;

    /// The newest position of each partition of the topic, as last read.
    std::vector<Position> heads_;

    /// Where the next receive() begins, so that one busy partition does not starve the rest.
    std::size_t turn_ = 0;

    /// When an acknowledgement was last stored, or last had nothing to wait for.
    std::chrono::microseconds stored_at_;

    std::chrono::milliseconds pause_{1};
    std::uint64_t change_token_ = 0;
};

}  // namespace instep::embedded_broker
