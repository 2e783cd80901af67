#include "service_process.hpp"

#include <instep/service/monitor.hpp>
#include <instep/telemetry/log_sink.hpp>
#include <instep/telemetry/logger.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <unistd.h>

namespace shop {

using instep::ErrorCode;
using instep::fail;
using instep::Result;

namespace {

constexpr std::chrono::seconds kStopGrace{10};

/// How often it is looked whether `instep migrate-broker` has moved the service.
constexpr timespec kLookForMoves{.tv_sec = 0, .tv_nsec = 500'000'000};

/// SIGINT and SIGTERM as something to wait for. Made before the first thread, which inherits it.
class Signals {
public:
    Signals() {
        ::sigemptyset(&set_);
        ::sigaddset(&set_, SIGINT);
        ::sigaddset(&set_, SIGTERM);
        ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
        ::signal(SIGPIPE, SIG_IGN);
    }

    /// True once one has come; false after a while without.
    [[nodiscard]] bool wait() const { return ::sigtimedwait(&set_, nullptr, &kLookForMoves) > 0; }

private:
    sigset_t set_{};
};

Result<const ServiceCode*> find_code(const instep::ServiceConfig& config,
                                     const Services& services) {
    const auto found = services.find(config.name);
    if (found == services.end()) {
        return fail(ErrorCode::kNotFound,
                    "this program has no code for service " + config.name + " of " + config.path);
    }
    return &found->second;
}

/// The service's own tables, from the SQL file beside its service file, and then those of Instep.
Result<void> apply(const instep::ServiceConfig& config, const instep::Clock& clock) {
    const auto path = std::filesystem::path(config.path).replace_extension(".sql");
    std::ostringstream script;
    if (!(script << std::ifstream(path).rdbuf())) {
        return fail(ErrorCode::kNotFound, "cannot read " + path.string());
    }
    INSTEP_TRY_ASSIGN(const auto database,
                      open_database(config.database, clock, instep::MissingDatabase::kCreate));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    INSTEP_TRY(connection->execute_script(script.str()));
    INSTEP_TRY(apply_service(config, clock, {}));
    return {};
}

std::string make_process_id(instep::Random& random) {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    return std::string(host.data()) + "/" + std::to_string(::getpid()) + "/" +
           std::to_string(random.below(1'000'000));
}

Result<std::unique_ptr<instep::HttpListener>> listen(const Arguments& arguments,
                                                     const ServiceCode& code, Entrance& entrance,
                                                     const instep::Surroundings& surroundings) {
    std::vector<instep::HttpRoute> routes = surroundings.monitor->routes();
    if (code.requests) {
        std::ranges::move(entrance.routes(code.requests(arguments)), std::back_inserter(routes));
    }
    instep::HttpListenerOptions options;
    options.address = arguments.find("listen").value_or(options.address);
    return instep::HttpListener::open(options, std::move(routes), surroundings.logger);
}

}  // namespace

Result<void> serve(const Arguments& arguments, const Services& services) {
    const Signals signals;
    const instep::SystemClock clock;
    instep::SystemRandom random;
    instep::FileLogSink sink(STDERR_FILENO);
    instep::Logger logger(sink, clock);
    instep::Brokers brokers(clock);
    INSTEP_TRY_ASSIGN(const auto config,
                      instep::load_service_file(arguments.file(), instep::process_environment()));
    INSTEP_TRY_ASSIGN(const ServiceCode* code, find_code(config, services));
    if (arguments.applies()) {
        INSTEP_TRY(apply(config, clock));
    }
    instep::Monitor monitor(clock, random, logger, make_process_id(random));
    const instep::Surroundings surroundings{clock,   random, logger, brokers, monitor.process_id(),
                                            &monitor};
    const auto handlers = code->handlers(surroundings.process_id);
    INSTEP_TRY_ASSIGN(auto service, instep::Service::create(config, surroundings, handlers));
    service->start();
    INSTEP_TRY_ASSIGN(const auto entrance, Entrance::open(config, surroundings));
    INSTEP_TRY_ASSIGN(const auto listener, listen(arguments, *code, *entrance, surroundings));
    std::cout << "ready: " << config.name << " at http://" << listener->address() << std::endl;
    while (!signals.wait()) {
        if (service->has_moved()) {
            INSTEP_TRY(service->stop(kStopGrace));
            INSTEP_TRY_ASSIGN(service, instep::Service::create(config, surroundings, handlers));
            service->start();
        }
    }
    return service->stop(kStopGrace);
}

Result<void> show(const Arguments& arguments, const Services& services) {
    const instep::SystemClock clock;
    INSTEP_TRY_ASSIGN(const auto config,
                      instep::load_service_file(arguments.file(), instep::process_environment()));
    INSTEP_TRY_ASSIGN(const ServiceCode* code, find_code(config, services));
    INSTEP_TRY_ASSIGN(const auto database, open_database(config.database, clock));
    INSTEP_TRY_ASSIGN(const auto connection, database->connect());
    INSTEP_TRY_ASSIGN(auto transaction,
                      instep::Transaction::begin(*connection, instep::TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(const auto rows, transaction.query(code->shown));
    while (true) {
        INSTEP_TRY_ASSIGN(const bool has_row, rows->next());
        if (!has_row) {
            return {};
        }
        for (std::size_t column = 0; column < rows->column_count(); ++column) {
            std::cout << (column == 0 ? "" : "  ") << rows->text(column);
        }
        std::cout << '\n';
    }
}

int run_command(std::span<char* const> words, const std::map<std::string, Command>& commands) {
    const auto arguments = Arguments::parse(words);
    const auto command = arguments ? commands.find(arguments->command()) : commands.end();
    if (command == commands.end()) {
        std::cerr << "usage: COMMAND FILE [--option value]...; a command is one of:";
        for (const auto& [name, function] : commands) {
            std::cerr << ' ' << name;
        }
        std::cerr << '\n' << (arguments ? "" : arguments.error().message + "\n");
        return 2;
    }
    const auto done = command->second(*arguments);
    if (!done) {
        std::cerr << arguments->command() << ": " << done.error().message << '\n';
        return done.error().code == ErrorCode::kInvalidArgument ? 2 : 1;
    }
    return 0;
}

}  // namespace shop
