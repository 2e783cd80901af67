// Programs that have nothing of Instep, between us and the real servers: what they get of ours
// and what we get of theirs is the same event, to the byte.
#include "instep/base/bytes.hpp"
#include "instep/broker/kafka/broker.hpp"
#include "instep/broker/rabbitmq/broker.hpp"
#include "instep/broker/redis/broker.hpp"
#include "instep/event/cloudevents.hpp"
#include "tests/foreign/payload_classes.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/kafka_server.hpp"
#include "tests/support/process.hpp"
#include "tests/support/rabbitmq_vhost.hpp"
#include "tests/support/redis_server.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace instep::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

using Attributes = std::map<std::string, std::string>;

const SystemClock kClock;

/// A server of one kind: how we open it and by what address its clients know it.
struct Server {
    std::unique_ptr<Broker> (*open)(Random& random);
    std::string (*address)();
};

const RabbitmqVhost& vhost() {
    static const RabbitmqVhost vhost;
    return vhost;
}

const Server kRedis = {
    .open =
        [](Random& random) {
            return open_redis_broker(RedisServer::shared().url(), kClock, random).value();
        },
    .address = [] { return RedisServer::shared().url(); },
};

/// As redis-cli's options.
const Server kRedisCli = {
    .open = kRedis.open,
    .address = [] { return "-p " + std::to_string(RedisServer::shared().port()); },
};

const Server kRabbitmq = {
    .open =
        [](Random& random) { return open_rabbitmq_broker(vhost().url(), kClock, random).value(); },
    .address = [] { return vhost().url(); },
};

const Server kKafka = {
    .open =
        [](Random& /*random*/) { return open_kafka_broker(KafkaServer::shared().url()).value(); },
    .address = [] { return "127.0.0.1:" + std::to_string(KafkaServer::shared().port()); },
};

/// One of tests/foreign/clients.
struct Client {
    std::string name;
    std::string program;
    const Server* server;
};

void PrintTo(const Client& client, std::ostream* out) { *out << client.name; }

/// An event as the client printed it.
struct Received {
    Attributes attributes;
    std::string data;
};

/// In one form what may be written in two: the time, and the key that need not come beside an
/// equal subject.
Attributes in_one_form(Attributes attributes) {
    if (const auto time = parse_time(attributes["time"])) {
        attributes["time"] = format_time(*time);
    }
    attributes.try_emplace("partitionkey", attributes["subject"]);
    return attributes;
}

std::vector<Received> parse_lines(const std::string& lines) {
    std::vector<Received> received;
    std::istringstream stream(lines);
    for (std::string line; std::getline(stream, line);) {
        const json event = json::parse(line);
        received.push_back({.attributes = event.at("attributes").get<Attributes>(),
                            .data = from_base64(event.at("data").get<std::string>()).value()});
    }
    return received;
}

std::string to_lines(const std::vector<Event>& events) {
    std::string lines;
    for (const Event& event : events) {
        Attributes attributes;
        for (const auto& [name, text] : to_attributes(event)) {
            attributes[name] = text;
        }
        lines += json{{"attributes", attributes}, {"data", to_base64(event.data)}}.dump() + "\n";
    }
    return lines;
}

class ForeignClient : public ::testing::TestWithParam<Client> {
protected:
    ForeignClient() { broker_->publisher().value()->declare_topic(topic_, 1).value(); }

    static Process start(const std::vector<std::string>& arguments) {
        return Process(INSTEP_FOREIGN_CLIENTS "/" + GetParam().program,
                       {.arguments = arguments,
                        .environment = {{"NODE_PATH", INSTEP_FOREIGN_PACKAGES},
                                        {"PYTHONDONTWRITEBYTECODE", "1"}}});
    }

    /// Publishes ours once the client listens.
    void publish_to_client() {
        Process reader =
            start({"read", GetParam().server->address(), topic_, std::to_string(classes_.size())});
        ASSERT_TRUE(reader.complains("ready")) << reader.wait(1s).err;
        const PublishOutcome outcome = broker_->publisher().value()->publish(
            {.topic = topic_, .partition = 0, .events = classes_, .fencing_epoch = 1});
        ASSERT_FALSE(outcome.failure) << outcome.failure->message;
        const Finished finished = reader.wait();
        ASSERT_EQ(finished.exit, 0) << finished.err;
        received_ = parse_lines(finished.out);
    }

    /// Lets the client publish all classes in the mode and takes them in.
    void read_from_client(const std::string& mode) {
        const auto subscriber = broker_->subscribe(
            {.subscription = topic_ + ".reader", .topic = topic_, .member = "one"});
        ASSERT_TRUE(subscriber) << subscriber.error().message;
        const TempDir folder;
        const std::string file = folder.file("events");
        std::ofstream(file) << to_lines(classes_);
        const Finished finished =
            start({"write", GetParam().server->address(), topic_, mode, file}).wait();
        ASSERT_EQ(finished.exit, 0) << finished.err;

        EXPECT_TRUE(eventually([&] {
            EXPECT_TRUE((*subscriber)->assignments());
            auto some = (*subscriber)->receive(classes_.size(), kEventDataBytesMax).value();
            std::ranges::move(some, std::back_inserter(deliveries_));
            return deliveries_.size() >= classes_.size();
        }));
        expect_equal_deliveries();
    }

    void expect_equal_deliveries() const {
        ASSERT_EQ(deliveries_.size(), classes_.size());
        for (std::size_t i = 0; i < classes_.size(); ++i) {
            SCOPED_TRACE(classes_[i].id);
            const Delivery& delivery = deliveries_[i];
            ASSERT_FALSE(delivery.malformed) << delivery.malformed->message;
            Event event = delivery.event;
            std::ranges::sort(event.extensions);
            EXPECT_EQ(to_attributes(event), to_attributes(classes_[i]));
            EXPECT_TRUE(event.data == classes_[i].data) << event.data.substr(0, 400);
            EXPECT_TRUE(event == classes_[i]);
        }
    }

    static inline int topics = 0;

    const std::string topic_ = "foreign" + std::to_string(++topics);
    const std::vector<Event> classes_ = payload_classes();
    SystemRandom random_;
    std::unique_ptr<Broker> broker_ = GetParam().server->open(random_);
    std::vector<Received> received_;
    std::vector<Delivery> deliveries_;
};

TEST_P(ForeignClient, GetsWhatWePublish) {
    publish_to_client();
    ASSERT_EQ(received_.size(), classes_.size());
    for (std::size_t i = 0; i < classes_.size(); ++i) {
        SCOPED_TRACE(classes_[i].id);
        const auto list = to_attributes(classes_[i]);
        EXPECT_EQ(in_one_form(received_[i].attributes), Attributes(list.begin(), list.end()));
        EXPECT_TRUE(received_[i].data == classes_[i].data) << received_[i].data.substr(0, 400);
    }
}

TEST_P(ForeignClient, IsReadInBinaryMode) { read_from_client("binary"); }

TEST_P(ForeignClient, IsReadInStructuredMode) { read_from_client("structured"); }

INSTANTIATE_TEST_SUITE_P(All, ForeignClient,
                         ::testing::Values(Client{"RedisCli", "redis_cli_client.py", &kRedis},
                                           Client{"Ioredis", "ioredis_client.js", &kRedis},
                                           Client{"Amqplib", "amqplib_client.js", &kRabbitmq},
                                           Client{"Pika", "pika_client.py", &kRabbitmq},
                                           Client{"Kafkajs", "kafkajs_client.js", &kKafka},
                                           Client{"Kcat", "kcat_client.py", &kKafka}),
                         [](const auto& tested) { return tested.param.name; });

/// A block of docs/reference/brokers.md, and the address in it that a test replaces.
struct Example {
    std::string name;
    std::string command;
    std::string address;
    const Server* server;
};

void PrintTo(const Example& example, std::ostream* out) { *out << example.name; }

/// The block that calls the command, for the server at the address.
std::string documented(const Example& example) {
    std::ostringstream text;
    text << std::ifstream(INSTEP_SOURCE_DIR "/docs/reference/brokers.md").rdbuf();
    const std::string page = text.str();
    const std::string fence = "```";
    for (auto at = page.find("```bash\n"); at != std::string::npos;
         at = page.find("```bash\n", at + 1)) {
        const auto begin = page.find('\n', at) + 1;
        std::string block = page.substr(begin, page.find(fence, begin) - begin);
        const auto address = block.find(example.address);
        if (block.find(example.command) != std::string::npos && address != std::string::npos) {
            return block.replace(address, example.address.size(), example.server->address());
        }
    }
    return {};
}

class DocumentedExample : public ::testing::TestWithParam<Example> {};

TEST_P(DocumentedExample, PublishesAnEvent) {
    SystemRandom random;
    const auto broker = GetParam().server->open(random);
    broker->publisher().value()->declare_topic("crm.user", 1).value();
    const auto subscriber =
        broker->subscribe({.subscription = "reader", .topic = "crm.user", .member = "one"}).value();
    const std::string block = documented(GetParam());
    ASSERT_FALSE(block.empty());

    const Finished finished = run_process("/bin/bash", {.arguments = {"-ec", block}});

    ASSERT_EQ(finished.exit, 0) << finished.err;
    std::vector<Delivery> deliveries;
    ASSERT_TRUE(eventually([&] {
        EXPECT_TRUE(subscriber->assignments());
        deliveries = subscriber->receive(1, 1).value();
        return !deliveries.empty();
    }));
    ASSERT_FALSE(deliveries[0].malformed) << deliveries[0].malformed->message;
    EXPECT_EQ(deliveries[0].event.source, "crm");
    EXPECT_EQ(deliveries[0].event.type, "user.created");
    EXPECT_EQ(deliveries[0].event.key, "7");
    EXPECT_EQ(deliveries[0].event.data, R"({"id": 7})");
}

INSTANTIATE_TEST_SUITE_P(
    All, DocumentedExample,
    ::testing::Values(Example{"RedisCli", "redis-cli", "-h 127.0.0.1 -p 6379", &kRedisCli},
                      Example{"Pika", "pika", "amqp://guest:guest@127.0.0.1:5672/%2F", &kRabbitmq},
                      Example{"Kcat", "kcat", "127.0.0.1:9092", &kKafka}),
    [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace instep::test
