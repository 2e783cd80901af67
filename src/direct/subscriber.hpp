#pragma once

#include "instep/concurrency/idle_policy.hpp"
#include "instep/direct/broker.hpp"
#include "instep/lease/lease.hpp"
#include "instep/log/append_watch.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace instep::direct {

/// What a subscriber is made of. Everything it points at must outlive it.
struct SubscriberParts {
    SubscribeOptions options;

    /// The cursor's name.
    std::string reader;
    const DirectOwner* owner;
    std::unique_ptr<Connection> connection;
    Lease lease;

    /// May be null.
    std::unique_ptr<ChunkSource> chunks;

    /// May be empty; see DirectOptions.
    std::function<Result<std::optional<LastPublished>>(std::string_view subscription)> last_taken;
    std::chrono::milliseconds idle_poll_max;
    const Clock* clock;
    Logger* logger;
};

/// Reads the owner's log while it holds the subscription's lease there.
class DirectSubscriber final : public Subscriber {
public:
    explicit DirectSubscriber(SubscriberParts parts);
    ~DirectSubscriber() override;

    Result<std::vector<Assignment>> assignments() override;
    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override;
    Result<void> acknowledge(std::uint32_t partition, Position position) override;
    Result<void> seek(std::uint32_t partition, Position position) override;
    Result<void> rewind(std::uint32_t partition, Position position) override;
    void wait(std::stop_token stop, std::chrono::milliseconds patience) override;

private:
    /// One look at the log. Of its events, those before `acknowledged` are acknowledged and those
    /// before `delivered` given out.
    struct Page {
        LogBatch batch;
        std::vector<Position> positions;
        std::size_t delivered = 0;
        std::size_t acknowledged = 0;
    };

    Result<std::vector<Delivery>> take(std::size_t events_max, std::size_t bytes_max);
    Result<void> open_reader(std::size_t events_max, std::size_t bytes_max);
    Result<void> compare_with_memory();
    Result<void> read_page();
    Result<void> turn_to(LogBatch batch);
    Result<void> pass(const LogBatch& batch);
    Result<void> confirm(std::size_t count);
    Result<void> advance();
    Result<void> check_held(std::uint32_t partition) const;
    Result<void> check_room(std::uint64_t seq) const;

    /// After an error, and after another member: what is remembered of the log may be wrong.
    void start_over();

    SubscribeOptions options_;
    const std::string reader_name_;
    const DirectOwner& owner_;
    std::unique_ptr<Connection> connection_;
    Lease lease_;
    std::unique_ptr<ChunkSource> chunks_;
    const std::function<Result<std::optional<LastPublished>>(std::string_view)> last_taken_;
    const Clock& clock_;
    Logger& logger_;
    IdlePolicy idle_;

    std::unique_ptr<LogReader> reader_;
    std::uint64_t lease_epoch_ = 0;
    std::optional<Page> page_;
    Position acknowledged_ = 0;

    /// The database as it was when there was nothing to read; empty when there may be something.
    std::optional<std::uint64_t> quiet_token_;
    AppendWatch watch_;

    /// When the cursor may next be moved over events of other topics.
    std::chrono::microseconds pass_at_{0};
};

}  // namespace instep::direct
