#include "tests/support/postgres_server.hpp"

#include <array>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace instep::test {

namespace {

// initdb takes a second, so each server is a copy of what it made once. The template's name
// changes with this script. Who inherits the lock from a killed test keeps it until it is done.
constexpr std::string_view kMakeData = R"(set -eu
programs=$1
store=${TMPDIR:-/tmp}/instep-postgres-$(id -u)
mkdir -p -m 700 "$store"
if [ -L "$store" ] || [ ! -O "$store" ]; then
    echo "$store is not ours" >&2
    exit 1
fi
template=$store/$({ echo "$programs"; cat "$0"; } | cksum | tr ' ' '-')
make_template() {
    rm -rf "$template.new"
    locale=--locale=C.UTF-8
    if "$programs/initdb" --help | grep -q locale-provider; then
        locale="$locale --locale-provider=icu --icu-locale=en-US"
    fi
    "$programs/initdb" --pgdata="$template.new" --username=tester --auth=trust --no-sync \
        --encoding=UTF8 $locale
    echo "include = '../server.conf'" >>"$template.new/postgresql.conf"
    mv "$template.new" "$template"
}
if [ ! -d "$template" ]; then
    exec 9>"$store/lock"
    flock 9
    [ -d "$template" ] || make_template
    exec 9>&-
fi
cp -r --reflink=auto "$template" data
)";

constexpr std::string_view kSettings = R"(listen_addresses = '127.0.0.1'
max_connections = 200
max_replication_slots = 20
max_wal_senders = 10
shared_buffers = 64MB
wal_level = logical
)";

/// The newest that is installed, unless the caller asks for another.
std::string find_programs() {
    if (const char* asked = std::getenv("INSTEP_POSTGRES_PROGRAMS")) {
        return asked;
    }
    int newest = 0;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", none)) {
        const std::string name = entry.path().filename();
        int version = 0;
        std::from_chars(name.data(), name.data() + name.size(), version);
        if (version > newest && std::filesystem::exists(entry.path() / "bin/postgres")) {
            newest = version;
        }
    }
    if (newest == 0) {
        throw std::runtime_error("no PostgreSQL below /usr/lib/postgresql: ./dev setup test");
    }
    return "/usr/lib/postgresql/" + std::to_string(newest) + "/bin";
}

}  // namespace

PostgresServer::PostgresServer(Options options)
    : options_(std::move(options)), programs_(find_programs()), daemon_(SIGQUIT) {
    daemon_.write("make_data", kMakeData);
    daemon_.run("sh make_data " + programs_);
    start();
}

PostgresServer& PostgresServer::shared() {
    static PostgresServer server;
    return server;
}

PostgresServer& PostgresServer::with_prepared_transactions() {
    static PostgresServer server({.settings = {"max_prepared_transactions = 10"}});
    return server;
}

void PostgresServer::start() {
    std::string settings(kSettings);
    settings += "port = " + std::to_string(port()) + "\n";
    settings += "unix_socket_directories = '" + folder() + "'\n";
    settings += options_.fsync ? "fsync = on\n" : "fsync = off\n";
    for (const std::string& line : options_.settings) {
        settings += line + "\n";
    }
    daemon_.write("server.conf", settings);
    if (!daemon_.start(programs_ + "/postgres -D data", [this] { return is_ready(); })) {
        daemon_.fail("PostgreSQL does not start");
    }
}

void PostgresServer::stop_immediately() { daemon_.stop(SIGQUIT); }

void PostgresServer::stop_fast() { daemon_.stop(SIGINT); }

// As pg_ctl does: line 1 of postmaster.pid is the process, line 8 its state.
bool PostgresServer::is_ready() const {
    std::ifstream file(folder() + "/data/postmaster.pid");
    std::array<std::string, 8> lines;
    for (std::string& line : lines) {
        std::getline(file, line);
    }
    return lines[0] == std::to_string(id()) && lines[7].starts_with("ready");
}

std::string PostgresServer::url(std::string_view database) const {
    return "postgresql://tester@127.0.0.1:" + std::to_string(port()) + "/" + std::string(database);
}

}  // namespace instep::test
