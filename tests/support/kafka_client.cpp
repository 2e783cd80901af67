#include "tests/support/kafka_client.hpp"

#include <librdkafka/rdkafka.h>

#include <array>
#include <stdexcept>

namespace instep::test {

namespace {

constexpr int kTimeoutMs = 120'000;

struct Delivered {
    bool is_done = false;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
};

void check(rd_kafka_resp_err_t error, const std::string& what) {
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        throw std::runtime_error(what + ": " + rd_kafka_err2str(error));
    }
}

rd_kafka_event_t* await(rd_kafka_queue_t* queue, const std::string& what) {
    rd_kafka_event_t* event = rd_kafka_queue_poll(queue, kTimeoutMs);
    if (event == nullptr) {
        throw std::runtime_error(what + ": no answer");
    }
    check(rd_kafka_event_error(event), what);
    return event;
}

}  // namespace

KafkaClient::KafkaClient(const KafkaServer& server) {
    std::array<char, 512> text{};
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    const std::string servers = "127.0.0.1:" + std::to_string(server.port());
    rd_kafka_conf_set(conf, "bootstrap.servers", servers.c_str(), text.data(), text.size());
    rd_kafka_conf_set(conf, "message.max.bytes", "20000000", text.data(), text.size());
    rd_kafka_conf_set_dr_msg_cb(conf, [](rd_kafka_t*, const rd_kafka_message_t* message, void*) {
        *static_cast<Delivered*>(message->_private) = {true, message->err};
    });
    client_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text.data(), text.size());
    if (client_ == nullptr) {
        throw std::runtime_error(text.data());
    }
}

KafkaClient::~KafkaClient() { rd_kafka_destroy(client_); }

void KafkaClient::produce(const KafkaMessage& message) {
    Delivered delivered;
    rd_kafka_headers_t* headers = rd_kafka_headers_new(message.headers.size());
    for (const auto& [name, value] : message.headers) {
        rd_kafka_header_add(headers, name.c_str(), -1, value.data(),
                            static_cast<ssize_t>(value.size()));
    }
    const auto bytes = [](rd_kafka_vtype_t type, const std::optional<std::string>& text) {
        rd_kafka_vu_t value{};
        value.vtype = type;
        value.u.mem = {text ? const_cast<char*>(text->data()) : nullptr, text ? text->size() : 0};
        return value;
    };
    std::array<rd_kafka_vu_t, 7> values{};
    values[0].vtype = RD_KAFKA_VTYPE_TOPIC;
    values[0].u.cstr = message.topic.c_str();
    values[1].vtype = RD_KAFKA_VTYPE_PARTITION;
    values[1].u.i32 = static_cast<std::int32_t>(message.partition);
    values[2] = bytes(RD_KAFKA_VTYPE_KEY, message.key);
    values[3] = bytes(RD_KAFKA_VTYPE_VALUE, message.value);
    values[4].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    values[4].u.i = RD_KAFKA_MSG_F_COPY;
    values[5].vtype = RD_KAFKA_VTYPE_HEADERS;
    values[5].u.headers = headers;
    values[6].vtype = RD_KAFKA_VTYPE_OPAQUE;
    values[6].u.ptr = &delivered;
    if (rd_kafka_error_t* error = rd_kafka_produceva(client_, values.data(), values.size())) {
        throw std::runtime_error(rd_kafka_error_string(error));
    }
    rd_kafka_flush(client_, kTimeoutMs);
    check(delivered.is_done ? delivered.error : RD_KAFKA_RESP_ERR__TIMED_OUT, "produce");
}

void KafkaClient::create_topic(const std::string& topic, int partitions,
                               const std::vector<std::pair<std::string, std::string>>& settings) {
    std::array<char, 512> text{};
    rd_kafka_NewTopic_t* wanted =
        rd_kafka_NewTopic_new(topic.c_str(), partitions, 1, text.data(), text.size());
    for (const auto& [name, value] : settings) {
        rd_kafka_NewTopic_set_config(wanted, name.c_str(), value.c_str());
    }
    rd_kafka_queue_t* queue = rd_kafka_queue_new(client_);
    rd_kafka_CreateTopics(client_, &wanted, 1, nullptr, queue);
    rd_kafka_event_t* event = await(queue, "create " + topic);
    std::size_t count = 0;
    const auto* results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    const auto error = rd_kafka_topic_result_error(results[0]);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(wanted);
    check(error, "create " + topic);
}

void KafkaClient::delete_topic(const std::string& topic) {
    rd_kafka_DeleteTopic_t* unwanted = rd_kafka_DeleteTopic_new(topic.c_str());
    rd_kafka_queue_t* queue = rd_kafka_queue_new(client_);
    rd_kafka_DeleteTopics(client_, &unwanted, 1, nullptr, queue);
    rd_kafka_event_t* event = await(queue, "delete " + topic);
    std::size_t count = 0;
    const auto* results =
        rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    const auto error = rd_kafka_topic_result_error(results[0]);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteTopic_destroy(unwanted);
    check(error, "delete " + topic);
}

void KafkaClient::delete_records(const std::string& topic, int partition, std::int64_t offset) {
    rd_kafka_topic_partition_list_t* before = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(before, topic.c_str(), partition)->offset = offset;
    rd_kafka_DeleteRecords_t* unwanted = rd_kafka_DeleteRecords_new(before);
    rd_kafka_queue_t* queue = rd_kafka_queue_new(client_);
    rd_kafka_DeleteRecords(client_, &unwanted, 1, nullptr, queue);
    rd_kafka_event_destroy(await(queue, "delete records of " + topic));
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteRecords_destroy(unwanted);
    rd_kafka_topic_partition_list_destroy(before);
}

}  // namespace instep::test
