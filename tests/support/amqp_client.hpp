#pragma once

#include <amqp.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace instep::test {

/// Another program's connection to RabbitMQ, with nothing of Instep in it. Every failure throws
/// std::runtime_error.
class AmqpClient {
public:
    explicit AmqpClient(int port, const std::string& vhost = "/");
    AmqpClient(const AmqpClient&) = delete;
    AmqpClient& operator=(const AmqpClient&) = delete;
    ~AmqpClient();

    struct Message {
        std::string routing_key{};
        std::string content_type{};
        std::string message_id{};
        std::vector<std::pair<std::string, std::string>> headers{};
        std::string body{};
    };

    /// Publishes and waits for the confirm.
    void publish(std::string_view exchange, const Message& message);

    /// A queue of its own, bound to the exchange.
    void bind_queue(std::string_view queue, std::string_view exchange, std::string_view pattern);

    /// Takes the next message out of a queue.
    std::optional<Message> get(std::string_view queue);

    void delete_queue(std::string_view queue);
    void delete_exchange(std::string_view exchange);

    /// A durable topic exchange, and what is bound to it with "#".
    void declare_topic_exchange(std::string_view exchange);
    void bind_standing_queue(std::string_view queue, std::string_view exchange);
    void unbind_standing_queue(std::string_view queue, std::string_view exchange);
    void declare_classic_queue(std::string_view queue);

private:
    void expect_ok(std::string_view what);

    amqp_connection_state_t state_;
};

}  // namespace instep::test
