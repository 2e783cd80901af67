// One AMQP connection over librabbitmq, whose every wait has an end.
#pragma once

#include "address.hpp"
#include "instep/base/error.hpp"

#include <amqp.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep::rabbitmq {

/// How long the server may take for an answer, and the network for what we send.
inline constexpr std::chrono::seconds kPatience{15};

inline amqp_bytes_t bytes_of(std::string_view text) {
    // The library takes what it does not change as char* too.
    return {text.size(), const_cast<char*>(text.data())};
}

inline std::string_view text_of(amqp_bytes_t bytes) {
    return {static_cast<const char*>(bytes.bytes), bytes.len};
}

struct LinkOptions {
    /// What an administrator sees in the list of connections.
    std::string name;

    /// After twice as long without a sign of life either side closes; 0 s: never.
    std::chrono::seconds heartbeat{0};
};

struct QueueState {
    std::uint32_t ready = 0;
    std::uint32_t consumers = 0;
};

/// kTopic: to whom the routing key says; kFanout: to all that is bound, which costs the server
/// least.
enum class ExchangeKind : std::uint8_t { kTopic, kFanout };

struct QueueSettings {
    bool durable = true;
    bool exclusive = false;
    bool auto_delete = false;
    std::vector<amqp_table_entry_t> arguments{};
};

/// For one thread at a time. After kUnavailable or kTimeout it is dead: open another.
class Link {
public:
    /// Errors: kUnavailable, kTimeout; kPermissionDenied for a refused login; kNotFound for a
    /// vhost that does not exist.
    static Result<std::unique_ptr<Link>> open(const Address& address, const LinkOptions& options);

    ~Link();
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    [[nodiscard]] amqp_connection_state_t handle() const { return state_; }
    [[nodiscard]] int socket() const { return amqp_get_sockfd(state_); }
    [[nodiscard]] bool is_alive() const { return is_alive_; }
    [[nodiscard]] std::size_t frame_bytes_max() const;

    /// Why the server takes no messages now; empty if it does.
    [[nodiscard]] const std::string& blocked() const { return blocked_; }

    Result<void> open_channel(amqp_channel_t channel);
    Result<void> close_channel(amqp_channel_t channel);

    /// Each leaves its channel open, also when the server refused: kNotFound, kBusy (held by
    /// another connection), kConflict (exists with other settings), kPermissionDenied.
    Result<QueueState> declare_queue(amqp_channel_t channel, std::string_view name,
                                     const QueueSettings& settings);
    Result<QueueState> inspect_queue(amqp_channel_t channel, std::string_view name);
    Result<void> delete_queue(amqp_channel_t channel, std::string_view name);
    Result<void> declare_exchange(amqp_channel_t channel, std::string_view name, ExchangeKind kind);
    Result<void> inspect_exchange(amqp_channel_t channel, std::string_view name);
    Result<void> bind_queue(amqp_channel_t channel, std::string_view queue,
                            std::string_view exchange);
    Result<void> bind_exchange(amqp_channel_t channel, std::string_view to, std::string_view from);
    Result<void> select_confirms(amqp_channel_t channel);
    Result<void> limit_prefetch(amqp_channel_t channel, std::uint16_t count);

    enum class Acknowledge : std::uint8_t { kNever, kLater };
    Result<void> consume(amqp_channel_t channel, std::string_view queue, std::string_view tag,
                         Acknowledge acknowledge, std::vector<amqp_table_entry_t> arguments = {});

    /// Sends basic.get; the answer comes as a frame.
    Result<void> ask_for_message(amqp_channel_t channel, std::string_view queue);

    Result<void> acknowledge(amqp_channel_t channel, std::uint64_t tag);
    Result<void> publish(amqp_channel_t channel, std::string_view exchange,
                         std::string_view routing_key, const amqp_basic_properties_t& properties,
                         std::string_view body);

    /// The next frame of a channel; nothing after `patience`, or if only blocked() changed. What it
    /// points to lives until release() of its channel.
    Result<std::optional<amqp_frame_t>> next_frame(std::chrono::milliseconds patience);
    void release(amqp_channel_t channel) { amqp_maybe_release_buffers_on_channel(state_, channel); }

    /// Confirms a channel.close that came as a frame, and says why it came.
    Error closed_by_server(const amqp_frame_t& frame);

private:
    Link(const Address& address, amqp_connection_state_t state);

    Result<void> connect(const Address& address);
    Result<void> log_in(const Address& address, const LinkOptions& options);

    /// What became of the last call; reopens a channel that the server closed.
    Result<void> outcome(amqp_channel_t channel, std::string_view what);
    std::unexpected<Error> lost(std::string_view what, int status);
    std::unexpected<Error> refused(std::string_view what, const amqp_connection_close_t& close);

    std::string display_url_;
    amqp_connection_state_t state_;
    bool is_alive_ = false;
    std::string blocked_;
};

}  // namespace instep::rabbitmq
