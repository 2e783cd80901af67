#include "bench/postgres/server.hpp"

#include "instep/base/bytes.hpp"

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <unistd.h>

namespace instep::bench {

std::unique_ptr<test::PostgresServer> start_server(std::vector<std::string> extra) {
    test::PostgresServer::Options options;
    options.fsync = true;
    options.settings = {"shared_buffers = 512MB",
                        "synchronous_commit = on",
                        "max_wal_size = 4GB",
                        "checkpoint_timeout = 30min",
                        "jit = off",
                        "wal_level = logical",
                        "maintenance_work_mem = 256MB"};
    options.settings.insert(options.settings.end(), extra.begin(), extra.end());
    return std::make_unique<test::PostgresServer>(options);
}

std::string make_database(const test::PostgresServer& server, const std::string& name) {
    Session(server.url()).run("CREATE DATABASE " + name);
    return server.url(name);
}

Seconds cpu_time_of(const test::PostgresServer& server) {
    // Of the postmaster itself and of its children, both those that run and those that ended.
    double ticks = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        std::ifstream file(entry.path() / "stat");
        std::string line;
        std::getline(file, line);
        const std::size_t name_end = line.rfind(')');
        if (name_end == std::string::npos) {
            continue;
        }
        char state = 0;
        int parent = 0;
        int skipped = 0;
        unsigned long unused = 0;
        unsigned long user = 0;
        unsigned long system = 0;
        long ended_user = 0;
        long ended_system = 0;
        std::sscanf(line.c_str() + name_end + 1,
                    " %c %d %d %d %d %d %lu %lu %lu %lu %lu %lu %lu %ld %ld", &state, &parent,
                    &skipped, &skipped, &skipped, &skipped, &unused, &unused, &unused, &unused,
                    &unused, &user, &system, &ended_user, &ended_system);
        const bool is_server = entry.path().filename() == std::to_string(server.id());
        if (is_server || parent == server.id()) {
            ticks += static_cast<double>(user + system);
        }
        if (is_server) {
            ticks += static_cast<double>(ended_user + ended_system);
        }
    }
    return Seconds(ticks / static_cast<double>(sysconf(_SC_CLK_TCK)));
}

std::function<Seconds()> cpu_with(const test::PostgresServer& server) {
    return [&server] { return cpu_time() + cpu_time_of(server); };
}

Session::Session(const std::string& url) : handle_(PQconnectdb(url.c_str())) {
    if (PQstatus(handle_.get()) != CONNECTION_OK) {
        throw std::runtime_error(PQerrorMessage(handle_.get()));
    }
}

Answer Session::checked(PGresult* result) const {
    Answer answer(result);
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN &&
        status != PGRES_COPY_OUT) {
        throw std::runtime_error(PQerrorMessage(handle_.get()));
    }
    return answer;
}

Answer Session::run(const std::string& sql) { return checked(PQexec(handle_.get(), sql.c_str())); }

void Session::prepare(const char* name, const std::string& sql) {
    checked(PQprepare(handle_.get(), name, sql.c_str(), 0, nullptr));
}

Answer Session::run_prepared(const char* name, std::initializer_list<std::string> parameters) {
    std::vector<const char*> values;
    for (const std::string& parameter : parameters) {
        values.push_back(parameter.c_str());
    }
    return checked(PQexecPrepared(handle_.get(), name, static_cast<int>(values.size()),
                                  values.data(), nullptr, nullptr, 1));
}

std::string Session::value(const std::string& sql) {
    const Answer answer = run(sql);
    return PQntuples(answer.get()) == 0 ? "" : PQgetvalue(answer.get(), 0, 0);
}

std::int64_t integer_at(const PGresult* result, int row, int column) {
    return static_cast<std::int64_t>(
        read_big_endian_64(std::string_view(PQgetvalue(result, row, column), 8)));
}

}  // namespace instep::bench
