// A member of a consumer group.
//
// The library asks for every change of what the member holds (rebalanced()) and goes on when it
// is told to. A revocation is answered when the partitions are drained, an assignment when it is
// known where to begin; each in assignments(), so that nothing changes behind the caller. Only
// what is lost already, by silence or a broken connection, goes at once.
#pragma once

#include "client.hpp"
#include "control.hpp"
#include "instep/broker/broker.hpp"
#include "instep/concurrency/signal.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

namespace instep::kafka_broker {

class KafkaSubscriber final : public Subscriber, private Listener {
public:
    /// Makes the group's offsets if the subscription is new. `cluster` and `control` must
    /// outlive it.
    static Result<std::unique_ptr<KafkaSubscriber>> join(const Cluster& cluster, Control& control,
                                                         SubscribeOptions options,
                                                         std::chrono::milliseconds timeout);

    KafkaSubscriber(const Cluster& cluster, Control& control, SubscribeOptions options,
                    std::chrono::milliseconds timeout);

    /// Leaves the group. A server that does not answer is given up: it frees the partitions
    /// when the member's time is over.
    ~KafkaSubscriber() override;

    Result<std::vector<Assignment>> assignments() override;
    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override;
    Result<void> acknowledge(std::uint32_t partition, Position position) override;
    Result<void> seek(std::uint32_t partition, Position position) override;
    Result<void> rewind(std::uint32_t partition, Position position) override;
    void wait(std::stop_token stop, std::chrono::milliseconds patience) override;

private:
    /// Messages and bytes taken from the library at once; it fetches more for what is taken.
    static constexpr std::size_t kFetchMessages = 500;
    static constexpr std::size_t kFetchBytes = 1U << 20U;

    /// How often a topic that does not exist yet is looked for.
    static constexpr std::chrono::milliseconds kTopicLook{200};

    /// How soon offsets are sent again that a group in the middle of a change refused.
    static constexpr std::chrono::milliseconds kCommitPause{20};

    struct Held {
        std::uint32_t partition = 0;
        std::uint64_t epoch = 0;

        /// What the server has confirmed that it knows.
        Position acknowledged = 0;

        /// What the caller has acknowledged, or was taken back to.
        Position done = 0;

        /// The last position delivered, or the one sought.
        Position read = 0;

        /// Leaving: no more deliveries, so that it becomes drained.
        bool is_leaving = false;

        /// Why nothing more can come.
        std::optional<Error> failure;

        Queue queue;

        /// How large the partition's messages are, as far as is known.
        std::size_t message_bytes = 1;

        /// Taken from the library and not delivered yet.
        std::deque<Message> fetched;

        [[nodiscard]] bool is_drained() const { return read <= acknowledged; }
    };

    /// Offsets that the server was told and has not answered for yet.
    struct Commit {
        struct Part {
            std::uint32_t partition = 0;
            std::uint64_t epoch = 0;
            Position position = 0;
        };
        std::vector<Part> parts;
        std::uintptr_t number = 0;
        std::chrono::steady_clock::time_point sent_at;
    };

    /// What is left of one receive() call's bounds.
    struct Room;

    Result<void> open();
    Result<void> ensure_subscription();
    Result<bool> has_committed(std::uint32_t partitions);
    Result<void> refuse_topic_of_another();
    Result<void> remember_waiting();
    Result<void> subscribe_to_topic();
    Result<bool> find_topic();

    Result<void> serve();
    Result<void> await_first_share();
    Result<void> probe();
    void rebalanced(rd_kafka_resp_err_t what,
                    const rd_kafka_topic_partition_list_t& partitions) override;
    Result<void> take_assigned();
    void give_up_drained();
    void give_up(const rd_kafka_topic_partition_list_t& partitions);
    static void discard(Held& held);
    Result<Held> hold(std::uint32_t partition, std::uint64_t epoch, std::int64_t committed,
                      OffsetRange range);
    [[nodiscard]] std::uint64_t generation() const;

    Result<void> commit(const rd_kafka_topic_partition_list_t& offsets);
    Result<void> send_commit();
    void take_commit_answers();
    void conclude(const Commit& commit, rd_kafka_resp_err_t answer);
    Result<void> await_commits();
    [[nodiscard]] bool has_uncommitted() const;
    void fetch(Held& held, std::size_t events);
    void deliver(Held& held, Room& room, std::vector<Delivery>& deliveries);
    bool has_news();
    void await_answer();
    void close();

    [[nodiscard]] Held* find(std::uint32_t partition);
    [[nodiscard]] std::unexpected<Error> not_held(std::uint32_t partition) const;
    [[nodiscard]] std::unexpected<Error> refused(std::string_view what, rd_kafka_resp_err_t error);

    const Cluster& cluster_;
    Control& control_;
    const SubscribeOptions options_;
    const std::chrono::milliseconds timeout_;

    /// Something came from the client library's threads.
    Signal arrival_;
    std::uint64_t arrivals_seen_ = 0;

    Client client_;
    Queue queue_;
    bool is_subscribed_ = false;

    /// True once the group has told what this member's share is, be it nothing.
    bool has_joined_ = false;

    /// True once the group has told it for certain; has_joined_ is also set when it was not waited
    /// for any longer.
    bool is_answered_ = false;
    bool is_closing_ = false;
    std::chrono::steady_clock::time_point topic_looked_for_{};

    std::vector<Held> held_;
    PartitionList assigned_;
    PartitionList revoked_;

    /// One at a time: what is acknowledged meanwhile goes with the next.
    std::optional<Commit> commit_under_way_;
    Queue commit_answers_;
    std::uintptr_t commits_sent_ = 0;
    std::chrono::steady_clock::time_point commit_again_at_{};

    /// When the server last answered for certain.
    std::chrono::steady_clock::time_point answered_at_{};

    /// Since when the server has refused what may be accepted in a moment.
    std::optional<std::chrono::steady_clock::time_point> commit_refused_since_;

    /// For the next acknowledge().
    std::optional<Error> commit_failure_;

    /// What stops the whole member, until the server says otherwise.
    std::optional<Error> failure_;

    /// Where the next receive() begins, so that one busy partition does not starve the rest.
    std::size_t turn_ = 0;
};

}  // namespace instep::kafka_broker
