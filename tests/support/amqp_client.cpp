#include "tests/support/amqp_client.hpp"

#include <amqp_tcp_socket.h>

#include <stdexcept>

namespace instep::test {

namespace {

amqp_bytes_t bytes(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }

std::string text(amqp_bytes_t bytes) { return {static_cast<const char*>(bytes.bytes), bytes.len}; }

}  // namespace

AmqpClient::AmqpClient(int port, const std::string& vhost) : state_(amqp_new_connection()) {
    if (amqp_socket_open(amqp_tcp_socket_new(state_), "127.0.0.1", port) != AMQP_STATUS_OK) {
        throw std::runtime_error("AmqpClient cannot connect");
    }
    const auto login = amqp_login(state_, vhost.c_str(), 0, AMQP_DEFAULT_FRAME_SIZE, 0,
                                  AMQP_SASL_METHOD_PLAIN, "guest", "guest");
    if (login.reply_type != AMQP_RESPONSE_NORMAL) {
        throw std::runtime_error("AmqpClient cannot log in");
    }
    amqp_channel_open(state_, 1);
    expect_ok("channel");
    amqp_confirm_select(state_, 1);
    expect_ok("confirms");
}

AmqpClient::~AmqpClient() {
    amqp_connection_close(state_, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(state_);
}

void AmqpClient::publish(std::string_view exchange, const Message& message) {
    std::vector<amqp_table_entry_t> headers;
    for (const auto& [name, value] : message.headers) {
        amqp_table_entry_t& header = headers.emplace_back();
        header.key = bytes(name);
        header.value.kind = AMQP_FIELD_KIND_UTF8;
        header.value.value.bytes = bytes(value);
    }
    amqp_basic_properties_t properties{};
    properties._flags = AMQP_BASIC_HEADERS_FLAG;
    properties.headers = {static_cast<int>(headers.size()), headers.data()};
    if (!message.content_type.empty()) {
        properties._flags |= AMQP_BASIC_CONTENT_TYPE_FLAG;
        properties.content_type = bytes(message.content_type);
    }
    amqp_basic_publish(state_, 1, bytes(exchange), bytes(message.routing_key), 0, 0, &properties,
                       bytes(message.body));
    amqp_method_t ignored;
    if (amqp_simple_wait_method(state_, 1, AMQP_BASIC_ACK_METHOD, &ignored) != AMQP_STATUS_OK) {
        throw std::runtime_error("AmqpClient got no confirm");
    }
}

void AmqpClient::bind_queue(std::string_view queue, std::string_view exchange,
                            std::string_view pattern) {
    amqp_queue_declare(state_, 1, bytes(queue), 0, 0, 0, 1, amqp_empty_table);
    expect_ok("declare");
    amqp_queue_bind(state_, 1, bytes(queue), bytes(exchange), bytes(pattern), amqp_empty_table);
    expect_ok("bind");
}

std::optional<AmqpClient::Message> AmqpClient::get(std::string_view queue) {
    const auto got = amqp_basic_get(state_, 1, bytes(queue), 1);
    if (got.reply_type != AMQP_RESPONSE_NORMAL) {
        throw std::runtime_error("AmqpClient cannot get");
    }
    if (got.reply.id != AMQP_BASIC_GET_OK_METHOD) {
        return std::nullopt;
    }
    Message message;
    message.routing_key = text(static_cast<amqp_basic_get_ok_t*>(got.reply.decoded)->routing_key);
    amqp_message_t read;
    if (amqp_read_message(state_, 1, &read, 0).reply_type != AMQP_RESPONSE_NORMAL) {
        throw std::runtime_error("AmqpClient cannot read");
    }
    message.content_type = text(read.properties.content_type);
    message.message_id = text(read.properties.message_id);
    for (int i = 0; i < read.properties.headers.num_entries; ++i) {
        const amqp_table_entry_t& header = read.properties.headers.entries[i];
        message.headers.emplace_back(text(header.key), text(header.value.value.bytes));
    }
    message.body = text(read.body);
    amqp_destroy_message(&read);
    amqp_maybe_release_buffers(state_);
    return message;
}

void AmqpClient::delete_queue(std::string_view queue) {
    amqp_queue_delete(state_, 1, bytes(queue), 0, 0);
    expect_ok("delete");
}

void AmqpClient::delete_exchange(std::string_view exchange) {
    amqp_exchange_delete(state_, 1, bytes(exchange), 0);
    expect_ok("delete");
}

void AmqpClient::declare_topic_exchange(std::string_view exchange) {
    amqp_exchange_declare(state_, 1, bytes(exchange), amqp_cstring_bytes("topic"), 0, 1, 0, 0,
                          amqp_empty_table);
    expect_ok("declare");
}

void AmqpClient::bind_standing_queue(std::string_view queue, std::string_view exchange) {
    amqp_queue_bind(state_, 1, bytes(queue), bytes(exchange), amqp_cstring_bytes("#"),
                    amqp_empty_table);
    expect_ok("bind");
}

void AmqpClient::unbind_standing_queue(std::string_view queue, std::string_view exchange) {
    amqp_queue_unbind(state_, 1, bytes(queue), bytes(exchange), amqp_cstring_bytes("#"),
                      amqp_empty_table);
    expect_ok("unbind");
}

void AmqpClient::declare_classic_queue(std::string_view queue) {
    amqp_queue_declare(state_, 1, bytes(queue), 0, 1, 0, 0, amqp_empty_table);
    expect_ok("declare");
}

void AmqpClient::expect_ok(std::string_view what) {
    if (amqp_get_rpc_reply(state_).reply_type != AMQP_RESPONSE_NORMAL) {
        throw std::runtime_error("AmqpClient: the server refused: " + std::string(what));
    }
}

}  // namespace instep::test
