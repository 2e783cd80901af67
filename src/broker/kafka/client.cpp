#include "client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace instep::kafka_broker {

namespace {

constexpr std::size_t kErrorText = 512;

// The library's first version that sends the right nonce in a SCRAM login, 2.6.1. Kafka took the
// wrong one until 4.0.
constexpr int kScramMended = 0x02060100;

using Configuration = std::unique_ptr<rd_kafka_conf_t, Destroy<&rd_kafka_conf_destroy>>;

void on_error(rd_kafka_t* /*client*/, int error, const char* reason, void* opaque) {
    static_cast<Listener*>(opaque)->note_trouble(static_cast<rd_kafka_resp_err_t>(error), reason);
}

void on_delivered(rd_kafka_t* /*client*/, const rd_kafka_message_t* message, void* opaque) {
    static_cast<Listener*>(opaque)->delivered(*message);
}

void on_rebalanced(rd_kafka_t* /*client*/, rd_kafka_resp_err_t what,
                   rd_kafka_topic_partition_list_t* partitions, void* opaque) {
    static_cast<Listener*>(opaque)->rebalanced(what, *partitions);
}

// What matters comes as errors too; a library of ours prints nothing.
void on_log(const rd_kafka_t* /*client*/, int /*level*/, const char* /*facility*/,
            const char* /*text*/) {}

std::string_view advice_on(rd_kafka_resp_err_t trouble, std::string_view text) {
    // What the library calls it depends on which of its threads comes first.
    if (trouble == RD_KAFKA_RESP_ERR__SSL || text.contains("certificate verify failed")) {
        return "; the option ssl.ca.location names the certificates to trust";
    }
    if (trouble == RD_KAFKA_RESP_ERR__AUTHENTICATION && text.contains("SCRAM") &&
        rd_kafka_version() < kScramMended) {
        return "; librdkafka before 2.6.1 is refused by Kafka 4.0 and later whatever the password: "
               "with those take sasl.mechanism=PLAIN over TLS, or a newer librdkafka";
    }
    switch (static_cast<int>(trouble)) {
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
            return "; a server that ends connections may want TLS or a login: see the options "
                   "security.protocol, ssl.ca.location and sasl.*";
        default:
            return "";
    }
}

/// The library's words may repeat a value, and so a password.
Result<void> set(rd_kafka_conf_t& configuration, const Cluster& cluster, const std::string& name,
                 const std::string& value) {
    std::array<char, kErrorText> text{};
    switch (
        rd_kafka_conf_set(&configuration, name.c_str(), value.c_str(), text.data(), text.size())) {
        case RD_KAFKA_CONF_OK:
            return {};
        case RD_KAFKA_CONF_UNKNOWN:
            return fail(ErrorCode::kConfigInvalid,
                        fmt::format("broker {}: the Kafka client has no option \"{}\"",
                                    cluster.display_url, name));
        case RD_KAFKA_CONF_INVALID:
        default:
            return fail(ErrorCode::kConfigInvalid,
                        fmt::format("broker {}: the Kafka client refuses the value of {}; look it "
                                    "up in librdkafka's CONFIGURATION.md",
                                    cluster.display_url, name));
    }
}

}  // namespace

void add(rd_kafka_topic_partition_list_t& list, std::string_view topic, std::uint32_t partition,
         std::int64_t offset, std::string_view metadata) {
    auto* entry = rd_kafka_topic_partition_list_add(&list, std::string(topic).c_str(),
                                                    static_cast<std::int32_t>(partition));
    entry->offset = offset;
    // The list frees it with free().
    entry->metadata = std::malloc(metadata.size());
    std::memcpy(entry->metadata, metadata.data(), metadata.size());
    entry->metadata_size = metadata.size();
}

void Listener::note_trouble(rd_kafka_resp_err_t code, std::string_view text) {
    // "All brokers down" says less than the reason before it.
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && !trouble_.empty()) {
        return;
    }
    trouble_code_ = code;
    trouble_ = text;
}

void Listener::forget_trouble() {
    trouble_code_ = RD_KAFKA_RESP_ERR_NO_ERROR;
    trouble_.clear();
}

Result<Client> make_client(rd_kafka_type_t type, const Cluster& cluster, const Properties& own,
                           Listener& listener) {
    Configuration configuration(rd_kafka_conf_new());
    const Properties always = {{"bootstrap.servers", cluster.servers},
                               {"log_level", "3"},
                               {"log.connection.close", "false"},
                               {"reconnect.backoff.max.ms", "1000"},
                               {"socket.nagle.disable", "true"}};
    for (const Properties* properties : {&always, &cluster.properties, &own}) {
        for (const auto& [name, value] : *properties) {
            INSTEP_TRY(set(*configuration, cluster, name, value));
        }
    }
    rd_kafka_conf_set_opaque(configuration.get(), &listener);
    rd_kafka_conf_set_error_cb(configuration.get(), on_error);
    rd_kafka_conf_set_log_cb(configuration.get(), on_log);
    if (type == RD_KAFKA_PRODUCER) {
        rd_kafka_conf_set_dr_msg_cb(configuration.get(), on_delivered);
    } else {
        rd_kafka_conf_set_rebalance_cb(configuration.get(), on_rebalanced);
    }
    std::array<char, kErrorText> text{};
    Client client(rd_kafka_new(type, configuration.get(), text.data(), text.size()));
    if (client == nullptr) {
        const bool is_crowded = rd_kafka_last_error() == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
        return fail(is_crowded ? ErrorCode::kUnavailable : ErrorCode::kConfigInvalid,
                    fmt::format("broker {}: no Kafka client can be made: {}", cluster.display_url,
                                text.data()));
    }
    std::ignore = configuration.release();
    return client;
}

ErrorCode code_of(rd_kafka_resp_err_t error) {
    switch (static_cast<int>(error)) {
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
            return ErrorCode::kNotFound;
        case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
            return ErrorCode::kPermissionDenied;
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
            return ErrorCode::kLimitExceeded;
        case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        case RD_KAFKA_RESP_ERR_INVALID_MSG:
        case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
        case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
            return ErrorCode::kRejected;
        case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
            return ErrorCode::kConflict;
        case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
        case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
        case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
        case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
        case RD_KAFKA_RESP_ERR__INVALID_ARG:
            return ErrorCode::kInvalidArgument;
        case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
        case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
        case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
            return ErrorCode::kFenced;
        case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
        case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
            return ErrorCode::kUnsupported;
        case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
            return ErrorCode::kStorageFull;
        default:
            return ErrorCode::kUnavailable;
    }
}

bool is_coordinator_moving(rd_kafka_resp_err_t error) {
    return error == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           error == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
           error == RD_KAFKA_RESP_ERR_NOT_COORDINATOR || error == RD_KAFKA_RESP_ERR__WAIT_COORD;
}

std::unexpected<Error> fail_with(std::string_view what, rd_kafka_resp_err_t error,
                                 const Listener& listener, std::string_view detail) {
    // A refused login shows as time-outs of whatever was asked.
    const bool is_login = listener.trouble_code() == RD_KAFKA_RESP_ERR__AUTHENTICATION;
    const ErrorCode code = code_of(is_login ? listener.trouble_code() : error);
    std::string text = detail.empty() ? rd_kafka_err2str(error) : std::string(detail);
    if ((code == ErrorCode::kUnavailable || is_login) && !listener.trouble().empty()) {
        text += fmt::format("; the connection says: {}{}", listener.trouble(),
                            advice_on(listener.trouble_code(), listener.trouble()));
    }
    return fail(code, fmt::format("{}: {}", what, text));
}

int timeout_ms(std::chrono::milliseconds time) {
    constexpr std::chrono::milliseconds kMost(std::numeric_limits<int>::max());
    return static_cast<int>(std::clamp(time, std::chrono::milliseconds(0), kMost).count());
}

}  // namespace instep::kafka_broker
