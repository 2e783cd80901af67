#include "tests/support/rabbitmq_server.hpp"

#include "tests/support/certificates.hpp"

#include <csignal>
#include <filesystem>
#include <stdexcept>

namespace instep::test {

namespace {

// Debian's own scripts insist on the users root and rabbitmq; these are what they call. The port
// mapper is a child of what becomes the node, and dies with it whatever ends it. It must answer
// before the node looks for it, or the node starts one that nobody ends.
constexpr std::string_view kServe = R"(. ./environment
setpriv --pdeathsig KILL epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 &
mapper=$!
until epmd -names; do
    kill -0 "$mapper" || exit
    sleep 0.05
done
exec "$programs/rabbitmq-server"
)";

constexpr std::string_view kControl = R"(. ./environment
exec "$programs/rabbitmqctl" "$@"
)";

constexpr std::string_view kSettings = R"(disk_free_limit.absolute = 1MB
log.console.level = info
)";

std::string find_programs() {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/rabbitmq/lib", none)) {
        if (std::filesystem::exists(entry.path() / "sbin/rabbitmq-server")) {
            return entry.path() / "sbin";
        }
    }
    throw std::runtime_error("no RabbitMQ below /usr/lib/rabbitmq/lib: ./dev setup test");
}

}  // namespace

RabbitmqServer::RabbitmqServer(Options options) : options_(std::move(options)), daemon_(SIGKILL) {
    if (options_.tls) {
        make_certificates(daemon_);
    }
    daemon_.write("serve", kServe);
    daemon_.write("control", kControl);
    start();
}

RabbitmqServer& RabbitmqServer::shared() {
    static RabbitmqServer server;
    return server;
}

void RabbitmqServer::start() {
    const std::string& home = daemon_.folder();
    daemon_.write("environment", "programs=" + find_programs() + "\nexport HOME=" + home +
                                     " ERL_EPMD_PORT=" + std::to_string(mapper_port_.number()) +
                                     " RABBITMQ_NODENAME=instep@localhost"
                                     " RABBITMQ_NODE_IP_ADDRESS=127.0.0.1"
                                     " RABBITMQ_NODE_PORT=" +
                                     std::to_string(port()) +
                                     " RABBITMQ_DIST_PORT=" + std::to_string(node_port_.number()) +
                                     " RABBITMQ_MNESIA_BASE=" + home + "/data RABBITMQ_LOGS=-" +
                                     " RABBITMQ_LOG_BASE=" + home +
                                     " RABBITMQ_CONFIG_FILE=" + home + "/server.conf" +
                                     " RABBITMQ_ENABLED_PLUGINS_FILE=" + home + "/plugins" +
                                     " RABBITMQ_CONF_ENV_FILE=" + home + "/none" +
                                     " RABBITMQ_ALLOW_INPUT=1"
                                     " RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-noinput -kernel "
                                     "inet_dist_use_interface {127,0,0,1}'\n");
    std::string settings(kSettings);
    if (options_.tls) {
        settings += "listeners.ssl.default = " + std::to_string(tls_port()) +
                    "\nssl_options.cacertfile = " + home + "/ca.pem" +
                    "\nssl_options.certfile = " + home + "/server.pem" +
                    "\nssl_options.keyfile = " + home + "/server.key\n";
    }
    for (const std::string& line : options_.settings) {
        settings += line + "\n";
    }
    daemon_.write("server.conf", settings);
    const std::size_t starts = count_starts();
    if (!daemon_.start("sh serve", [this, starts] { return count_starts() > starts; })) {
        daemon_.fail("RabbitMQ does not start");
    }
}

void RabbitmqServer::stop() { daemon_.stop(SIGTERM); }

void RabbitmqServer::kill() { daemon_.stop(SIGKILL); }

void RabbitmqServer::save_queue_names() { control("eval '[dets:sync(T) || T <- dets:all()].'"); }

void RabbitmqServer::take_leader(const std::string& vhost, const std::string& queue) {
    tell_queue("stop_server", vhost, queue);
}

void RabbitmqServer::give_leader(const std::string& vhost, const std::string& queue) {
    tell_queue("restart_server", vhost, queue);
}

void RabbitmqServer::tell_queue(const std::string& call, const std::string& vhost,
                                const std::string& queue) {
    control("eval '{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"" + vhost +
            "\">>, queue, <<\"" + queue + "\">>)), ok = ra:" + call +
            "(quorum_queues, amqqueue:get_pid(Q)).'");
}

void RabbitmqServer::control(const std::string& arguments) {
    daemon_.run("sh control " + arguments);
}

std::size_t RabbitmqServer::count_starts() const {
    constexpr std::string_view kReady = "Server startup complete";
    const std::string log = daemon_.log();
    std::size_t count = 0;
    for (std::size_t at = log.find(kReady); at != std::string::npos;
         at = log.find(kReady, at + kReady.size())) {
        ++count;
    }
    return count;
}

std::string RabbitmqServer::url(std::string_view vhost) const {
    return "amqp://guest:guest@127.0.0.1:" + std::to_string(port()) + "/" + std::string(vhost);
}

std::string RabbitmqServer::tls_url(std::string_view vhost) const {
    return "amqps://guest:guest@127.0.0.1:" + std::to_string(tls_port()) + "/" + std::string(vhost);
}

}  // namespace instep::test
