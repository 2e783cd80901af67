// The client library, in the thickness that this module needs: owners of its objects, what goes
// wrong with a connection, errors of ours.
#pragma once

#include "instep/base/error.hpp"
#include "url.hpp"

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace instep::kafka_broker {

template <auto kDestroy>
struct Destroy {
    void operator()(auto* object) const noexcept { kDestroy(object); }
};

/// Without leaving a group, which is bounded in time only where it is asked for.
struct DestroyClient {
    void operator()(rd_kafka_t* client) const noexcept {
        rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
};

using Client = std::unique_ptr<rd_kafka_t, DestroyClient>;
using Answer = std::unique_ptr<rd_kafka_event_t, Destroy<&rd_kafka_event_destroy>>;
using ClientError = std::unique_ptr<rd_kafka_error_t, Destroy<&rd_kafka_error_destroy>>;
using Message = std::unique_ptr<rd_kafka_message_t, Destroy<&rd_kafka_message_destroy>>;
using Queue = std::unique_ptr<rd_kafka_queue_t, Destroy<&rd_kafka_queue_destroy>>;
using Topic = std::unique_ptr<rd_kafka_topic_t, Destroy<&rd_kafka_topic_destroy>>;
using PartitionList = std::unique_ptr<rd_kafka_topic_partition_list_t,
                                      Destroy<&rd_kafka_topic_partition_list_destroy>>;

inline PartitionList make_list(int size) {
    return PartitionList(rd_kafka_topic_partition_list_new(size));
}

inline std::span<rd_kafka_topic_partition_t> all_of(const rd_kafka_topic_partition_list_t& list) {
    return {list.elems, static_cast<std::size_t>(list.cnt)};
}

/// `metadata` is what a group remembers beside the offset.
void add(rd_kafka_topic_partition_list_t& list, std::string_view topic, std::uint32_t partition,
         std::int64_t offset, std::string_view metadata);

/// What a client tells, in the thread that polls it. Must outlive the client.
class Listener {
public:
    Listener() = default;
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    virtual ~Listener() = default;

    virtual void delivered(const rd_kafka_message_t& /*message*/) {}
    virtual void rebalanced(rd_kafka_resp_err_t /*what*/,
                            const rd_kafka_topic_partition_list_t& /*partitions*/) {}

    /// The connection's last trouble, "" if it had none.
    [[nodiscard]] const std::string& trouble() const { return trouble_; }
    [[nodiscard]] rd_kafka_resp_err_t trouble_code() const { return trouble_code_; }
    void note_trouble(rd_kafka_resp_err_t code, std::string_view text);
    void forget_trouble();

private:
    std::string trouble_;
    rd_kafka_resp_err_t trouble_code_ = RD_KAFKA_RESP_ERR_NO_ERROR;
};

/// `own` properties win over the URL's. Errors: kConfigInvalid; kUnavailable if the machine
/// has no room for its threads.
Result<Client> make_client(rd_kafka_type_t type, const Cluster& cluster, const Properties& own,
                           Listener& listener);

/// What the caller has to do about the library's error.
ErrorCode code_of(rd_kafka_resp_err_t error);

/// True while a group's server is being found or is reading the group: over in a moment.
bool is_coordinator_moving(rd_kafka_resp_err_t error);

/// "what: the library's words, or `detail`; the connection's trouble".
std::unexpected<Error> fail_with(std::string_view what, rd_kafka_resp_err_t error,
                                 const Listener& listener, std::string_view detail = "");

/// Milliseconds as the library takes them.
int timeout_ms(std::chrono::milliseconds time);

}  // namespace instep::kafka_broker
