// What a subscriber has acknowledged, on its way to the server.
//
// A server may take milliseconds to answer, since it gathers the offsets of many groups before it
// writes them (group.coordinator.append.linger.ms), so a member that is heard of all the time does
// not wait for it: an answer is looked for in each call.
#include "instep/broker/kafka/broker.hpp"
#include "subscriber.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace instep::kafka_broker {

namespace {

using namespace std::chrono_literals;

/// How long an acknowledgement follows a rebalance that is under way.
constexpr auto kRebalancePatience = 3s;

/// The number of the group's next change is known to the server a moment before us.
bool is_changing(rd_kafka_resp_err_t answer) {
    return answer == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS ||
           answer == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
}

rd_kafka_resp_err_t error_of(rd_kafka_event_t& answer) {
    auto error = rd_kafka_event_error(&answer);
    if (const auto* list = rd_kafka_event_topic_partition_list(&answer)) {
        for (const auto& entry : all_of(*list)) {
            error = error == RD_KAFKA_RESP_ERR_NO_ERROR ? entry.err : error;
        }
    }
    return error;
}

}  // namespace

Result<void> KafkaSubscriber::acknowledge(std::uint32_t partition, Position position) {
    INSTEP_TRY(serve());
    if (auto failure = std::exchange(commit_failure_, {})) {
        return std::unexpected(*std::move(failure));
    }
    Held* const held = find(partition);
    if (held == nullptr) {
        return not_held(partition);
    }
    if (position <= held->done) {
        return {};
    }
    if (position > held->read) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} was not delivered to {}", position,
                                partition, options_.member));
    }
    held->done = position;
    INSTEP_TRY(send_commit());
    if (std::chrono::steady_clock::now() - answered_at_ < options_.member_timeout / 4) {
        return {};
    }
    // Whoever was silent may have lost its partitions.
    INSTEP_TRY(await_commits());
    return find(partition) == nullptr ? not_held(partition) : Result<void>{};
}

Result<void> KafkaSubscriber::send_commit() {
    const auto now = std::chrono::steady_clock::now();
    if (commit_under_way_ || now < commit_again_at_) {
        return {};
    }
    Commit next{.parts = {}, .number = commits_sent_ + 1, .sent_at = now};
    const PartitionList list = make_list(static_cast<int>(held_.size()));
    for (const Held& held : held_) {
        if (held.done != held.acknowledged) {
            add(*list, options_.topic, held.partition, static_cast<std::int64_t>(held.done), kOurs);
            next.parts.push_back({held.partition, held.epoch, held.done});
        }
    }
    if (next.parts.empty()) {
        return {};
    }
    const auto sent = rd_kafka_commit_queue(client_.get(), list.get(), commit_answers_.get(),
                                            nullptr, reinterpret_cast<void*>(next.number));
    if (sent != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return refused("acknowledge", sent);
    }
    commits_sent_ = next.number;
    commit_under_way_ = std::move(next);
    return {};
}

void KafkaSubscriber::take_commit_answers() {
    while (const Answer answer{rd_kafka_queue_poll(commit_answers_.get(), 0)}) {
        const auto number = reinterpret_cast<std::uintptr_t>(rd_kafka_event_opaque(answer.get()));
        if (commit_under_way_ && commit_under_way_->number == number) {
            conclude(*std::exchange(commit_under_way_, {}), error_of(*answer));
        }
    }
    if (commit_under_way_ &&
        std::chrono::steady_clock::now() > commit_under_way_->sent_at + timeout_) {
        conclude(*std::exchange(commit_under_way_, {}), RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    if (auto sent = send_commit(); !sent) {
        commit_failure_ = std::move(sent).error();
    }
}

void KafkaSubscriber::conclude(const Commit& commit, rd_kafka_resp_err_t answer) {
    const auto now = std::chrono::steady_clock::now();
    if (is_changing(answer) || is_coordinator_moving(answer)) {
        commit_again_at_ = now + kCommitPause;
        commit_refused_since_ = commit_refused_since_.value_or(now);
        const auto patience = is_changing(answer) ? kRebalancePatience : timeout_;
        if (now - *commit_refused_since_ > patience) {
            commit_failure_ = is_changing(answer) ? not_held(commit.parts.front().partition).error()
                                                  : refused("acknowledge", answer).error();
            commit_refused_since_.reset();
        }
        return;
    }
    commit_refused_since_.reset();
    if (answer == RD_KAFKA_RESP_ERR_NO_ERROR) {
        answered_at_ = now;
    } else {
        Error error = refused("acknowledge", answer).error();
        if (error.code != ErrorCode::kFenced) {
            commit_failure_ = std::move(error);
            return;
        }
    }
    for (const Commit::Part& part : commit.parts) {
        Held* const held = find(part.partition);
        if (held == nullptr || held->epoch != part.epoch) {
            continue;
        }
        if (answer == RD_KAFKA_RESP_ERR_NO_ERROR) {
            held->acknowledged = part.position;
        } else {
            // The library learns the same with its next heartbeat, and takes it away then.
            held_.erase(held_.begin() + (held - held_.data()));
        }
    }
}

bool KafkaSubscriber::has_uncommitted() const {
    return std::ranges::any_of(held_,
                               [](const Held& held) { return held.done != held.acknowledged; });
}

Result<void> KafkaSubscriber::await_commits() {
    const auto until = std::chrono::steady_clock::now() + timeout_;
    INSTEP_TRY(serve());
    while (has_uncommitted() && !commit_failure_) {
        if (std::chrono::steady_clock::now() > until) {
            return refused("acknowledge", RD_KAFKA_RESP_ERR__TIMED_OUT);
        }
        arrival_.wait({}, arrivals_seen_, kCommitPause);
        INSTEP_TRY(serve());
    }
    if (auto failure = std::exchange(commit_failure_, {})) {
        return std::unexpected(*std::move(failure));
    }
    return {};
}

/// Waits for the answer. Errors: kFenced; kBusy while the group changes.
Result<void> KafkaSubscriber::commit(const rd_kafka_topic_partition_list_t& offsets) {
    const auto until = std::chrono::steady_clock::now() + timeout_;
    const Queue queue(rd_kafka_queue_new(client_.get()));
    while (true) {
        const auto sent =
            rd_kafka_commit_queue(client_.get(), &offsets, queue.get(), nullptr, nullptr);
        if (sent != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return refused("acknowledge", sent);
        }
        const Answer answer(rd_kafka_queue_poll(queue.get(), timeout_ms(timeout_)));
        if (answer == nullptr) {
            return refused("acknowledge", RD_KAFKA_RESP_ERR__TIMED_OUT);
        }
        const auto error = error_of(*answer);
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return {};
        }
        if (is_changing(error)) {
            return fail(ErrorCode::kBusy, "the group is changing");
        }
        if (!is_coordinator_moving(error) || std::chrono::steady_clock::now() > until) {
            return refused("acknowledge", error);
        }
        arrival_.wait({}, arrival_.count(), 50ms);
    }
}

}  // namespace instep::kafka_broker
