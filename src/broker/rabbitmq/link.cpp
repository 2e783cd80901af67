#include "link.hpp"

#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <fmt/format.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace instep::rabbitmq {

namespace {

constexpr int kFrameBytes = 131072;

/// What the system trusts.
constexpr const char* kAuthorities = "/etc/ssl/certs/ca-certificates.crt";
constexpr std::chrono::seconds kConnectPatience{10};

timeval time_of(std::chrono::microseconds time) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    return {.tv_sec = seconds.count(), .tv_usec = (time - seconds).count()};
}

amqp_table_entry_t yes(const char* name) {
    amqp_table_entry_t entry{};
    entry.key = amqp_cstring_bytes(name);
    entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    entry.value.value.boolean = 1;
    return entry;
}

amqp_table_t table_of(std::vector<amqp_table_entry_t>& entries) {
    return {.num_entries = static_cast<int>(entries.size()), .entries = entries.data()};
}

/// The library compares a certificate's names only. Where the host is an address, OpenSSL compares
/// that, as part of what the library takes for the certificate's verification.
void check_address(amqp_socket_t& socket, const std::string& host) {
    auto* context = static_cast<SSL_CTX*>(amqp_ssl_socket_get_context(&socket));
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_CTX_get0_param(context), host.c_str()) == 1) {
        amqp_ssl_socket_set_verify_hostname(&socket, 0);
    }
}

/// A queue whose node is still starting is not found either, a stream that was just declared may
/// not be on its node yet, and only the text says so.
bool is_away(std::string_view reason) {
    return reason.contains("down or inaccessible") ||
           reason.contains("does not have a replica on the local node");
}

/// The reply codes of AMQP 0-9-1.
ErrorCode code_of(std::uint16_t reply_code, std::string_view reason) {
    if ((reply_code == 404 || reply_code == 406) && is_away(reason)) {
        return ErrorCode::kUnavailable;
    }
    switch (reply_code) {
        case 311:
            return ErrorCode::kLimitExceeded;
        case 403:
            return ErrorCode::kPermissionDenied;
        case 404:
            return ErrorCode::kNotFound;
        case 405:
            return ErrorCode::kBusy;
        case 406:
            return ErrorCode::kConflict;
        case 540:
            return ErrorCode::kUnsupported;
        default:
            return ErrorCode::kUnavailable;
    }
}

std::string_view advice_on(ErrorCode code, std::string_view reason) {
    if (is_away(reason)) {
        return "; if that stays so, a killed server has lost it: see docs/adr/0015-rabbitmq.md";
    }
    if (code == ErrorCode::kPermissionDenied) {
        return "; check user and password, and give the user its rights: rabbitmqctl "
               "set_permissions";
    }
    return code == ErrorCode::kConflict ? "; use its settings or move what it holds and delete it"
                                        : "";
}

}  // namespace

Link::Link(const Address& address, amqp_connection_state_t state)
    : display_url_(address.display_url), state_(state) {}

Link::~Link() {
    if (is_alive_) {
        const timeval patience = time_of(std::chrono::seconds(1));
        amqp_set_rpc_timeout(state_, &patience);
        amqp_connection_close(state_, AMQP_REPLY_SUCCESS);
    }
    amqp_destroy_connection(state_);
}

Result<std::unique_ptr<Link>> Link::open(const Address& address, const LinkOptions& options) {
    std::unique_ptr<Link> link(new Link(address, amqp_new_connection()));
    if (link->state_ == nullptr) {
        return fail(ErrorCode::kLimitExceeded, "no memory for a connection to RabbitMQ");
    }
    INSTEP_TRY(link->connect(address));
    INSTEP_TRY(link->log_in(address, options));
    return link;
}

Result<void> Link::connect(const Address& address) {
    amqp_socket_t* socket =
        address.is_tls ? amqp_ssl_socket_new(state_) : amqp_tcp_socket_new(state_);
    if (socket == nullptr) {
        return fail(ErrorCode::kLimitExceeded, "no memory for a connection to RabbitMQ");
    }
    if (address.is_tls) {
        const std::string authorities = address.ca_file.empty() ? kAuthorities : address.ca_file;
        const int trusted = amqp_ssl_socket_set_cacert(socket, authorities.c_str());
        const int shown = address.certificate_file.empty()
                              ? AMQP_STATUS_OK
                              : amqp_ssl_socket_set_key(socket, address.certificate_file.c_str(),
                                                        address.key_file.c_str());
        check_address(*socket, address.host);
        if (trusted != AMQP_STATUS_OK || shown != AMQP_STATUS_OK) {
            return fail(
                ErrorCode::kConfigInvalid,
                trusted != AMQP_STATUS_OK
                    ? fmt::format("{}: no certificates to trust can be read from {}", display_url_,
                                  authorities)
                    : fmt::format("{}: certificate {} and key {} cannot be used", display_url_,
                                  address.certificate_file, address.key_file));
        }
    }
    const timeval patience = time_of(kConnectPatience);
    const int status =
        amqp_socket_open_noblock(socket, address.host.c_str(), address.port, &patience);
    if (status == AMQP_STATUS_SSL_PEER_VERIFY_FAILED ||
        status == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{}: TLS: the server's certificate is refused: {}; give ca=FILE or "
                                "another host",
                                display_url_, amqp_error_string2(status)));
    }
    if (status != AMQP_STATUS_OK) {
        return lost("cannot connect", status);
    }
    // Also ends a send to a server that stopped reading, for which the library has no time-out.
    const auto user_timeout = static_cast<unsigned>(std::chrono::milliseconds(kPatience).count());
    ::setsockopt(this->socket(), IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout,
                 sizeof(user_timeout));
    const int keepalive = 1;
    ::setsockopt(this->socket(), SOL_SOCKET, SO_KEEPALIVE, &keepalive, sizeof(keepalive));
    return {};
}

Result<void> Link::log_in(const Address& address, const LinkOptions& options) {
    std::vector<amqp_table_entry_t> capabilities = {yes("connection.blocked"),
                                                    yes("consumer_cancel_notify")};
    std::vector<amqp_table_entry_t> properties(2);
    properties[0].key = amqp_cstring_bytes("connection_name");
    properties[0].value.kind = AMQP_FIELD_KIND_UTF8;
    properties[0].value.value.bytes = bytes_of(options.name);
    properties[1].key = amqp_cstring_bytes("capabilities");
    properties[1].value.kind = AMQP_FIELD_KIND_TABLE;
    properties[1].value.value.table = table_of(capabilities);
    const amqp_table_t table = table_of(properties);
    const timeval patience = time_of(kConnectPatience);
    amqp_set_handshake_timeout(state_, &patience);
    const timeval rpc_patience = time_of(kPatience);
    amqp_set_rpc_timeout(state_, &rpc_patience);

    const amqp_rpc_reply_t reply = amqp_login_with_properties(
        state_, address.vhost.c_str(), 0, kFrameBytes, static_cast<int>(options.heartbeat.count()),
        &table, AMQP_SASL_METHOD_PLAIN, address.user.c_str(), address.password.c_str());
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        is_alive_ = true;
        return {};
    }
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
        reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        return refused("login", *static_cast<amqp_connection_close_t*>(reply.reply.decoded));
    }
    return lost("login", reply.library_error);
}

std::size_t Link::frame_bytes_max() const {
    return static_cast<std::size_t>(amqp_get_frame_max(state_));
}

Result<void> Link::open_channel(amqp_channel_t channel) {
    amqp_channel_open(state_, channel);
    return outcome(channel, "open a channel");
}

Result<void> Link::close_channel(amqp_channel_t channel) {
    const amqp_rpc_reply_t reply = amqp_channel_close(state_, channel, AMQP_REPLY_SUCCESS);
    release(channel);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        return {};
    }
    return lost("close a channel", reply.library_error);
}

Result<QueueState> Link::declare_queue(amqp_channel_t channel, std::string_view name,
                                       const QueueSettings& settings) {
    std::vector<amqp_table_entry_t> arguments = settings.arguments;
    const auto* declared = amqp_queue_declare(state_, channel, bytes_of(name), 0,
                                              settings.durable ? 1 : 0, settings.exclusive ? 1 : 0,
                                              settings.auto_delete ? 1 : 0, table_of(arguments));
    INSTEP_TRY(outcome(channel, fmt::format("declare queue {}", name)));
    const QueueState state{.ready = declared->message_count, .consumers = declared->consumer_count};
    release(channel);
    return state;
}

Result<QueueState> Link::inspect_queue(amqp_channel_t channel, std::string_view name) {
    const auto* declared =
        amqp_queue_declare(state_, channel, bytes_of(name), 1, 0, 0, 0, amqp_empty_table);
    INSTEP_TRY(outcome(channel, fmt::format("look at queue {}", name)));
    const QueueState state{.ready = declared->message_count, .consumers = declared->consumer_count};
    release(channel);
    return state;
}

Result<void> Link::delete_queue(amqp_channel_t channel, std::string_view name) {
    amqp_queue_delete(state_, channel, bytes_of(name), 0, 0);
    return outcome(channel, fmt::format("delete queue {}", name));
}

Result<void> Link::declare_exchange(amqp_channel_t channel, std::string_view name,
                                    ExchangeKind kind) {
    const char* const type = kind == ExchangeKind::kTopic ? "topic" : "fanout";
    amqp_exchange_declare(state_, channel, bytes_of(name), amqp_cstring_bytes(type), 0, 1, 0, 0,
                          amqp_empty_table);
    return outcome(channel, fmt::format("declare exchange {}", name));
}

Result<void> Link::inspect_exchange(amqp_channel_t channel, std::string_view name) {
    amqp_exchange_declare(state_, channel, bytes_of(name), amqp_cstring_bytes("topic"), 1, 1, 0, 0,
                          amqp_empty_table);
    return outcome(channel, fmt::format("look at exchange {}", name));
}

Result<void> Link::bind_queue(amqp_channel_t channel, std::string_view queue,
                              std::string_view exchange) {
    amqp_queue_bind(state_, channel, bytes_of(queue), bytes_of(exchange), amqp_cstring_bytes("#"),
                    amqp_empty_table);
    return outcome(channel, fmt::format("bind queue {} to exchange {}", queue, exchange));
}

Result<void> Link::bind_exchange(amqp_channel_t channel, std::string_view to,
                                 std::string_view from) {
    amqp_exchange_bind(state_, channel, bytes_of(to), bytes_of(from), amqp_cstring_bytes("#"),
                       amqp_empty_table);
    return outcome(channel, fmt::format("bind exchange {} to exchange {}", to, from));
}

Result<void> Link::select_confirms(amqp_channel_t channel) {
    amqp_confirm_select(state_, channel);
    return outcome(channel, "ask for confirms");
}

Result<void> Link::limit_prefetch(amqp_channel_t channel, std::uint16_t count) {
    amqp_basic_qos(state_, channel, 0, count, 0);
    return outcome(channel, "limit what is sent ahead");
}

Result<void> Link::consume(amqp_channel_t channel, std::string_view queue, std::string_view tag,
                           Acknowledge acknowledge, std::vector<amqp_table_entry_t> arguments) {
    amqp_basic_consume(state_, channel, bytes_of(queue), bytes_of(tag), 0,
                       acknowledge == Acknowledge::kNever ? 1 : 0, 0, table_of(arguments));
    return outcome(channel, fmt::format("consume from queue {}", queue));
}

Result<void> Link::ask_for_message(amqp_channel_t channel, std::string_view queue) {
    amqp_basic_get_t get{};
    get.queue = bytes_of(queue);
    const int status = amqp_send_method(state_, channel, AMQP_BASIC_GET_METHOD, &get);
    if (status != AMQP_STATUS_OK) {
        return lost("ask for a message", status);
    }
    return {};
}

Result<void> Link::acknowledge(amqp_channel_t channel, std::uint64_t tag) {
    const int status = amqp_basic_ack(state_, channel, tag, 1);
    if (status != AMQP_STATUS_OK) {
        return lost("acknowledge", status);
    }
    return {};
}

Result<void> Link::publish(amqp_channel_t channel, std::string_view exchange,
                           std::string_view routing_key, const amqp_basic_properties_t& properties,
                           std::string_view body) {
    const int status = amqp_basic_publish(state_, channel, bytes_of(exchange),
                                          bytes_of(routing_key), 1, 0, &properties, bytes_of(body));
    if (status != AMQP_STATUS_OK) {
        return lost("publish", status);
    }
    return {};
}

Result<std::optional<amqp_frame_t>> Link::next_frame(std::chrono::milliseconds patience) {
    const timeval time = time_of(patience);
    amqp_frame_t frame;
    const int status = amqp_simple_wait_frame_noblock(state_, &frame, &time);
    if (status == AMQP_STATUS_TIMEOUT) {
        return std::nullopt;
    }
    if (status != AMQP_STATUS_OK) {
        return lost("read", status);
    }
    if (frame.channel != 0 || frame.frame_type != AMQP_FRAME_METHOD) {
        return frame;
    }
    const void* method = frame.payload.method.decoded;
    if (frame.payload.method.id == AMQP_CONNECTION_CLOSE_METHOD) {
        return refused("connection", *static_cast<const amqp_connection_close_t*>(method));
    }
    if (frame.payload.method.id == AMQP_CONNECTION_BLOCKED_METHOD) {
        blocked_ = text_of(static_cast<const amqp_connection_blocked_t*>(method)->reason);
    } else if (frame.payload.method.id == AMQP_CONNECTION_UNBLOCKED_METHOD) {
        blocked_.clear();
    }
    return std::nullopt;
}

Error Link::closed_by_server(const amqp_frame_t& frame) {
    const auto& close = *static_cast<amqp_channel_close_t*>(frame.payload.method.decoded);
    const ErrorCode code = code_of(close.reply_code, text_of(close.reply_text));
    Error error{code,
                fmt::format("{} closed a channel: {}{}", display_url_, text_of(close.reply_text),
                            advice_on(code, text_of(close.reply_text)))};
    amqp_channel_close_ok_t ok{};
    if (amqp_send_method(state_, frame.channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok) !=
        AMQP_STATUS_OK) {
        is_alive_ = false;
    }
    return error;
}

Result<void> Link::outcome(amqp_channel_t channel, std::string_view what) {
    const amqp_rpc_reply_t reply = amqp_get_rpc_reply(state_);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        return {};
    }
    if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) {
        return lost(what, reply.library_error);
    }
    if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        return refused(what, *static_cast<amqp_connection_close_t*>(reply.reply.decoded));
    }
    const auto& close = *static_cast<amqp_channel_close_t*>(reply.reply.decoded);
    const ErrorCode code = code_of(close.reply_code, text_of(close.reply_text));
    Error error{code, fmt::format("{}: {}: {}{}", display_url_, what, text_of(close.reply_text),
                                  advice_on(code, text_of(close.reply_text)))};
    amqp_channel_close_ok_t ok{};
    amqp_send_method(state_, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    release(channel);
    amqp_channel_open(state_, channel);
    INSTEP_TRY(outcome(channel, what));
    return std::unexpected(std::move(error));
}

std::unexpected<Error> Link::lost(std::string_view what, int status) {
    is_alive_ = false;
    const bool late = status == AMQP_STATUS_TIMEOUT || status == AMQP_STATUS_HEARTBEAT_TIMEOUT;
    return fail(late ? ErrorCode::kTimeout : ErrorCode::kUnavailable,
                fmt::format("{}: {}: {}", display_url_, what, amqp_error_string2(status)));
}

std::unexpected<Error> Link::refused(std::string_view what, const amqp_connection_close_t& close) {
    is_alive_ = false;
    const std::string_view reason = text_of(close.reply_text);
    ErrorCode code = code_of(close.reply_code, text_of(close.reply_text));
    if (close.reply_code == 530) {
        code = reason.find("not found") != std::string_view::npos ? ErrorCode::kNotFound
                                                                  : ErrorCode::kPermissionDenied;
    }
    return fail(code,
                fmt::format("{}: {}: {}{}", display_url_, what, reason, advice_on(code, reason)));
}

}  // namespace instep::rabbitmq
