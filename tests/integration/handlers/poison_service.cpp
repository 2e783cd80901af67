// A service whose handler ends the process at some events, as a fault in native code would.
#include "instep/service/service.hpp"
#include "instep/telemetry/log_sink.hpp"
#include "instep/telemetry/logger.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>

namespace {

instep::Verdict handle(instep::HandlerContext& context) {
    if (context.event().data == "\"poison\"") {
        std::abort();
    }
    const auto written = context.transaction().execute("INSERT INTO effects (id) VALUES ($1)",
                                                       {std::string_view(context.event().id)});
    return written ? instep::Verdict::done() : instep::Verdict::retry(written.error().message);
}

/// Runs until the process is ended from without, or from within.
int run(const std::string& file) {
    const instep::SystemClock clock;
    instep::SystemRandom random;
    instep::FileLogSink sink(STDERR_FILENO);
    instep::Logger logger(sink, clock, {});
    instep::Brokers brokers(clock);
    auto config = instep::load_service_file(file, instep::process_environment());
    if (!config) {
        std::fputs((config.error().message + "\n").c_str(), stderr);
        return 2;
    }
    instep::Handlers handlers;
    handlers["orders"].on("order.placed", &handle);
    auto service = instep::Service::create(
        *std::move(config), {clock, random, logger, brokers, "poison/" + std::to_string(getpid())},
        std::move(handlers));
    if (!service) {
        std::fputs((service.error().message + "\n").c_str(), stderr);
        return 1;
    }
    (*service)->start();
    for (;;) {
        ::pause();
    }
}

}  // namespace

int main(int /*argc*/, char** argv) { return run(argv[1]); }
