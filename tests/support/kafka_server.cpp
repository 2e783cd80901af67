#include "tests/support/kafka_server.hpp"

#include "tests/support/certificates.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <netinet/in.h>
#include <sstream>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

namespace instep::test {

namespace {

constexpr std::string_view kClusterId = "aW5zdGVwLXRlc3RzLWthZg";

// Small enough for two cores; no waiting for more members before a group begins.
constexpr std::string_view kSettings = R"(process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
log.dirs=data
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=2
background.threads=2
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
)";

constexpr std::string_view kTlsSettings = R"(
listener.security.protocol.map=PLAINTEXT:SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location=server-all.pem
ssl.truststore.type=PEM
ssl.truststore.location=ca.pem
)";

constexpr const char* kJava =
    "java -Xms64m -Xmx320m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData "
    "-Xshare:auto -XX:SharedArchiveFile=" INSTEP_KAFKA_FOLDER
    "/server.jsa -Dorg.slf4j.simpleLogger.defaultLogLevel=warn "
    "-Dorg.slf4j.simpleLogger.showDateTime=true -cp ";

std::string class_path() {
    std::ostringstream text;
    text << std::ifstream(INSTEP_KAFKA_FOLDER "/class_path").rdbuf();
    if (text.str().empty()) {
        throw std::runtime_error("no Kafka in " INSTEP_KAFKA_FOLDER
                                 ": ./dev setup test, then build instep_kafka_jars");
    }
    return std::move(text).str();
}

bool is_listening(int port) {
    const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<in_port_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool listening =
        ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    ::close(probe);
    return listening;
}

}  // namespace

KafkaServer::KafkaServer(Options options) : options_(std::move(options)), daemon_(SIGKILL) {
    daemon_.run("mkdir data");
    if (options_.tls) {
        make_certificates(daemon_);
    }
    advertised_port_ = options_.advertise ? options_.advertise(port()) : port();
    write_settings();
    format();
    start();
}

KafkaServer& KafkaServer::shared() {
    static KafkaServer server;
    return server;
}

void KafkaServer::write_settings() const {
    std::ostringstream settings;
    settings << kSettings << "controller.quorum.voters=1@127.0.0.1:" << controller_port_.number()
             << "\nlisteners=PLAINTEXT://127.0.0.1:" << port()
             << ",CONTROLLER://127.0.0.1:" << controller_port_.number()
             << "\nadvertised.listeners=PLAINTEXT://127.0.0.1:" << advertised_port_ << "\n";
    settings << (options_.tls ? kTlsSettings : "");
    for (const std::string& line : options_.settings) {
        settings << line << "\n";
    }
    daemon_.write("server.properties", settings.str());
}

// Without users, what `kafka-storage format` would write: the rest is this version's defaults.
void KafkaServer::format() {
    if (options_.scram_users.empty()) {
        daemon_.write("meta.properties",
                      "version=1\ncluster.id=" + std::string(kClusterId) + "\nnode.id=1\n");
        daemon_.run("cp meta.properties data/");
        return;
    }
    std::string command = kJava + class_path() +
                          " kafka.tools.StorageTool format --config server.properties "
                          "--cluster-id " +
                          std::string(kClusterId);
    for (const std::string& user : options_.scram_users) {
        command += " --add-scram '" + user + "'";
    }
    daemon_.run(command);
}

void KafkaServer::start() {
    if (!daemon_.start(kJava + class_path() + " kafka.Kafka server.properties",
                       [this] { return is_listening(port()); })) {
        daemon_.fail("Kafka does not start");
    }
}

void KafkaServer::kill() { daemon_.stop(SIGKILL); }

void KafkaServer::stop() { daemon_.stop(SIGTERM); }

std::string KafkaServer::url(std::string_view options) const {
    std::string url = "kafka://127.0.0.1:" + std::to_string(advertised_port_);
    if (!options.empty()) {
        url.append("?").append(options);
    }
    return url;
}

}  // namespace instep::test
