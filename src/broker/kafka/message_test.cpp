#include "message.hpp"

#include <gtest/gtest.h>

namespace instep::kafka_broker {
namespace {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

HeaderList list_of(const rd_kafka_headers_t& headers) {
    HeaderList list;
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    for (std::size_t i = 0;
         rd_kafka_header_get_all(&headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
        list.emplace_back(name, std::string(static_cast<const char*>(value), size));
    }
    return list;
}

TEST(KafkaMessageTest, AttributesAreHeadersAndTheDatasTypeIsTheContentType) {
    Event event;
    event.id = "e1";
    event.source = "iam";
    event.type = "user.created";
    event.key = "ada";
    event.extensions = {{"zone", "eu"}};

    AttributeViews views;
    const Headers headers = make_headers(event, views);

    EXPECT_EQ(list_of(*headers), (HeaderList{{"ce_specversion", "1.0"},
                                             {"ce_id", "e1"},
                                             {"ce_source", "iam"},
                                             {"ce_type", "user.created"},
                                             {"ce_subject", "ada"},
                                             {"ce_partitionkey", "ada"},
                                             {"content-type", "application/json"},
                                             {"ce_zone", "eu"}}));
}

TEST(KafkaMessageTest, TheFirstMessageStandsBehindNothing) { EXPECT_EQ(position_of(0), 1U); }

}  // namespace
}  // namespace instep::kafka_broker
