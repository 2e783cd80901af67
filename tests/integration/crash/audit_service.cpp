// usage: instep_audit_service FILE
//
// Runs a service whose subscription "items" writes down every change that it is told of, in the
// order in which it is told, until SIGTERM. Nothing in its table stops a repeat.
#include "instep/service/service.hpp"
#include "instep/telemetry/log_sink.hpp"
#include "instep/telemetry/logger.hpp"

#include <fmt/core.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <unistd.h>

namespace {

using namespace instep;

Verdict write_down(HandlerContext& context) {
    const Event& event = context.event();
    if (speaks_of_range(event.operation)) {
        return Verdict::done();
    }
    const auto written = context.transaction().execute(
        "INSERT INTO audited (event_id, key, version) VALUES ($1, $2, $3)",
        {std::string_view(event.id), std::string_view(event.key),
         std::string_view(to_sequence(event.version))});
    return written ? Verdict::done() : Verdict::retry(written.error().message);
}

/// SIGTERM as something to wait for; made before the first thread.
sigset_t stop_signal() {
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    return signals;
}

Result<void> serve(const char* path) {
    const sigset_t stop = stop_signal();
    const SystemClock clock;
    SystemRandom random;
    FileLogSink sink(STDERR_FILENO);
    Logger logger(sink, clock);
    Brokers brokers(clock);
    INSTEP_TRY_ASSIGN(const auto config, load_service_file(path, process_environment()));
    INSTEP_TRY(apply_service(config, clock, {}));
    const std::string process = fmt::format("audit/{}/1", ::getpid());
    for (;;) {
        Handlers handlers;
        handlers["items"].otherwise(&write_down);
        INSTEP_TRY_ASSIGN(const auto service,
                          Service::create(config, {clock, random, logger, brokers, process},
                                          std::move(handlers)));
        service->start();
        fmt::print("ready\n");
        std::fflush(stdout);
        bool is_to_stop = false;
        while (!is_to_stop && !service->has_moved()) {
            constexpr timespec kLook{.tv_sec = 0, .tv_nsec = 100'000'000};
            is_to_stop = ::sigtimedwait(&stop, nullptr, &kLook) > 0;
        }
        INSTEP_TRY(service->stop(std::chrono::seconds(20)));
        if (is_to_stop) {
            return {};
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    const auto served = argc == 2 ? serve(argv[1]) : fail(ErrorCode::kInvalidArgument, "no file");
    if (!served) {
        fmt::print(stderr, "{}\n", served.error().message);
    }
    return served ? 0 : 1;
}
