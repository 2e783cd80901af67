#include "tests/support/pgbouncer.hpp"

#include <csignal>

namespace instep::test {

namespace {

// auth_type any takes every client; all of them are "tester" to the server.
std::string configuration(int server_port, int port) {
    return "[databases]\n"
           "* = host=127.0.0.1 user=tester port=" +
           std::to_string(server_port) +
           "\n"
           "[pgbouncer]\n"
           "listen_addr = 127.0.0.1\n"
           "listen_port = " +
           std::to_string(port) +
           "\n"
           "unix_socket_dir =\n"
           "auth_type = any\n"
           "admin_users = tester\n"
           "pool_mode = transaction\n"
           "max_client_conn = 500\n"
           "ignore_startup_parameters = extra_float_digits,options\n";
}

}  // namespace

PgBouncer::PgBouncer(const PostgresServer& server) : daemon_(SIGTERM) {
    daemon_.write("pgbouncer.ini", configuration(server.port(), port_.number()));
    const bool started = daemon_.start("/usr/sbin/pgbouncer pgbouncer.ini", [&] {
        const std::string log = daemon_.log();
        return log.find("listening on 127.0.0.1:" + std::to_string(port_.number())) !=
                   std::string::npos &&
               log.find("process up") != std::string::npos;
    });
    if (!started) {
        daemon_.fail("PgBouncer does not start");
    }
}

std::string PgBouncer::url(std::string_view database) const {
    return "postgresql://tester@127.0.0.1:" + std::to_string(port_.number()) + "/" +
           std::string(database);
}

}  // namespace instep::test
