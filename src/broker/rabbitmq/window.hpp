// Which messages of one batch are sent, confirmed, returned.
//
// The server may refuse one and take those sent behind it, which are then there before it comes
// again. So of each key one message is under way at a time, and what speaks of more than its key
// goes alone: what overtakes is of other keys.
#pragma once

#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"
#include "instep/broker/event_batch.hpp"
#include "message.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace instep::rabbitmq {

class Window {
public:
    /// Messages and bytes under way at the same time. More gains nothing on a fast network.
    static constexpr std::size_t kMessagesMax = 1000;
    static constexpr std::size_t kBytesMax = 16U << 20U;

    /// `tag` is the delivery tag of the message before the first.
    Window(std::span<const Event> events, std::uint64_t tag)
        : events_(events), first_tag_(tag + 1), states_(events.size(), State::kWaiting) {}

    [[nodiscard]] bool is_sent() const { return sent_ == events_.size(); }
    [[nodiscard]] bool is_settled() const { return settled_ == sent_; }
    [[nodiscard]] bool has_room() const {
        return settled_ == sent_ ||
               (sent_ - settled_ < kMessagesMax && sent_bytes_ - settled_bytes_ < kBytesMax);
    }

    /// True if nothing that next() must stay behind may still be refused.
    [[nodiscard]] bool is_in_turn() const {
        return has_barrier_ || is_barrier(next()) ? keys_.empty() : !keys_.contains(next().key);
    }
    [[nodiscard]] const Event& next() const { return events_[sent_]; }
    [[nodiscard]] std::size_t sent() const { return sent_; }
    void note_sent() {
        keys_.insert(next().key);
        has_barrier_ = is_barrier(next());
        sent_bytes_ += event_bytes(events_[sent_++]);
    }

    /// The server has answered for `tag`, and for all before it if `multiple`. Tags of earlier
    /// batches are passed over.
    void settle(std::uint64_t tag, bool multiple, bool confirmed) {
        if (tag < first_tag_ || tag >= first_tag_ + sent_) {
            return;
        }
        const std::size_t last = static_cast<std::size_t>(tag - first_tag_);
        for (std::size_t i = multiple ? settled_ : last; i <= last; ++i) {
            settle(i, confirmed);
        }
        while (settled_ < sent_ && states_[settled_] != State::kWaiting &&
               states_[settled_] != State::kReturned) {
            settled_bytes_ += event_bytes(events_[settled_++]);
        }
    }

    /// A message came back, which is said before it is settled.
    void note_returned(std::string_view id) {
        for (std::size_t i = settled_; i < sent_; ++i) {
            if (states_[i] == State::kWaiting && events_[i].id == id) {
                states_[i] = State::kReturned;
                return;
            }
        }
    }

    /// Nobody wants what comes back, now and for the rest of the batch: it counts as confirmed.
    void accept_unrouted() {
        accepts_unrouted_ = true;
        for (std::size_t i = 0; i < sent_; ++i) {
            if (states_[i] == State::kUnrouted) {
                confirm(i);
            }
        }
    }

    [[nodiscard]] std::optional<std::size_t> first_unrouted() const {
        return find(State::kUnrouted);
    }

    /// Nothing behind it may be sent.
    [[nodiscard]] std::optional<std::size_t> first_refused() const { return refused_; }

    /// Counted from the first.
    [[nodiscard]] std::size_t durable() const {
        const auto end =
            std::ranges::find_if(states_, [](State state) { return state != State::kConfirmed; });
        return static_cast<std::size_t>(end - states_.begin());
    }

private:
    enum class State : std::uint8_t { kWaiting, kReturned, kConfirmed, kUnrouted, kRefused };

    /// Chunks, digests, and boundaries of whole transactions, whose key is the source itself.
    static bool is_barrier(const Event& event) {
        return speaks_of_range(event.operation) || event.key == event.source;
    }

    void settle(std::size_t i, bool confirmed) {
        if (states_[i] == State::kReturned && !accepts_unrouted_) {
            states_[i] = State::kUnrouted;
        } else if (states_[i] == State::kReturned || (states_[i] == State::kWaiting && confirmed)) {
            confirm(i);
        } else if (states_[i] == State::kWaiting) {
            states_[i] = State::kRefused;
            refused_ = std::min(refused_.value_or(i), i);
        }
    }

    void confirm(std::size_t i) {
        states_[i] = State::kConfirmed;
        keys_.erase(events_[i].key);
        has_barrier_ = has_barrier_ && !keys_.empty();
    }

    [[nodiscard]] std::optional<std::size_t> find(State state) const {
        const auto found = std::ranges::find(states_, state);
        return found == states_.end()
                   ? std::nullopt
                   : std::optional(static_cast<std::size_t>(found - states_.begin()));
    }

    std::span<const Event> events_;
    std::uint64_t first_tag_;
    std::vector<State> states_;
    std::size_t sent_ = 0;
    std::size_t settled_ = 0;
    std::size_t sent_bytes_ = 0;
    std::size_t settled_bytes_ = 0;

    /// Of what was sent and is not confirmed.
    std::unordered_set<std::string_view> keys_;
    bool has_barrier_ = false;
    bool accepts_unrouted_ = false;
    std::optional<std::size_t> refused_;
};

}  // namespace instep::rabbitmq
