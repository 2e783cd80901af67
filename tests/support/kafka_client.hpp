#pragma once

#include "tests/support/kafka_server.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

struct rd_kafka_s;

namespace instep::test {

/// A message as another program would send it.
struct KafkaMessage {
    std::string topic;
    std::uint32_t partition = 0;
    std::optional<std::string> key{};
    std::optional<std::string> value{};
    std::vector<std::pair<std::string, std::string>> headers{};
};

/// A client without any of Instep. Every failure throws std::runtime_error.
class KafkaClient {
public:
    explicit KafkaClient(const KafkaServer& server);
    ~KafkaClient();
    KafkaClient(const KafkaClient&) = delete;
    KafkaClient& operator=(const KafkaClient&) = delete;

    /// Returns when the server has it.
    void produce(const KafkaMessage& message);

    void create_topic(const std::string& topic, int partitions,
                      const std::vector<std::pair<std::string, std::string>>& settings = {});
    void delete_topic(const std::string& topic);

    /// Deletes what stands before `offset`, as the server's retention does.
    void delete_records(const std::string& topic, int partition, std::int64_t offset);

private:
    rd_kafka_s* client_;
};

}  // namespace instep::test
