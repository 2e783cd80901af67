#include "tests/support/redis_server.hpp"

#include "tests/support/certificates.hpp"

#include <csignal>
#include <cstdlib>

namespace instep::test {

namespace {

constexpr std::string_view kSettings = R"(bind 127.0.0.1
protected-mode no
daemonize no
save ""
appendonly yes
appendfsync everysec
dir .
enable-debug-command local
)";

constexpr std::string_view kTlsSettings = R"(port 0
tls-cert-file server.pem
tls-key-file server.key
tls-ca-cert-file ca.pem
tls-auth-clients optional
)";

std::string count_of(std::string_view text, std::string_view wanted) {
    std::size_t count = 0;
    for (std::size_t at = text.find(wanted); at != std::string_view::npos;
         at = text.find(wanted, at + 1)) {
        ++count;
    }
    return std::to_string(count);
}

}  // namespace

RedisServer::RedisServer(Options options) : options_(std::move(options)), daemon_(SIGKILL) {
    if (options_.tls) {
        make_certificates(daemon_);
    }
    start();
}

RedisServer& RedisServer::shared() {
    static RedisServer server;
    return server;
}

void RedisServer::start() {
    std::string settings(kSettings);
    if (options_.tls) {
        settings += kTlsSettings;
        settings += "tls-port " + std::to_string(port()) + "\n";
    } else {
        settings += "port " + std::to_string(port()) + "\n";
    }
    for (const std::string& line : options_.settings) {
        settings += line + "\n";
    }
    daemon_.write("redis.conf", settings);
    constexpr std::string_view kReady = "Ready to accept connections";
    const std::string before = count_of(daemon_.log(), kReady);
    if (!daemon_.start("redis-server redis.conf",
                       [&] { return count_of(daemon_.log(), kReady) != before; })) {
        daemon_.fail("Redis does not start: ./dev setup test");
    }
}

void RedisServer::kill() { daemon_.stop(SIGKILL); }

void RedisServer::stop() { daemon_.stop(SIGTERM); }

void RedisServer::command(const std::string& arguments) {
    const std::string tls = options_.tls ? " --tls --cacert ca.pem" : "";
    daemon_.run("redis-cli -e" + tls + " -h 127.0.0.1 -p " + std::to_string(port()) + " " +
                arguments);
}

std::string RedisServer::url(std::string_view login) const {
    std::string url = options_.tls ? "rediss://" : "redis://";
    if (!login.empty()) {
        url.append(login).append("@");
    }
    return url + "127.0.0.1:" + std::to_string(port());
}

}  // namespace instep::test
