// What goes wrong on the way: a relay that dies, events that come twice.

#include "demo_break.hpp"
#include "demo_process.hpp"
#include "demo_writer.hpp"

#include <fmt/format.h>

#include <thread>

namespace instep::cli {

namespace {

using namespace std::chrono_literals;

/// Returns at a moment when something was committed that is not published yet.
Result<SystemLook> catch_in_flight(DemoSystem& system) {
    constexpr int kLooksMax = 2000;
    for (int looks = 0;; ++looks) {
        INSTEP_TRY_ASSIGN(SystemLook look, system.look());
        if (look.published < look.committed || looks == kLooksMax) {
            return look;
        }
        std::this_thread::sleep_for(1ms);
    }
}

std::uint64_t ignored(const ReplicaLook& replica) {
    return replica.counts.duplicates_ignored + replica.counts.stale_ignored;
}

}  // namespace

Result<void> break_by_killing_the_relay(Breakage& breakage) {
    constexpr std::uint64_t kRate = 500;
    DemoSystem& system = breakage.system();
    const std::string file = system.folder().file("iam.toml");
    INSTEP_TRY(system.start(kConsumers));
    INSTEP_TRY_ASSIGN(auto relay, DemoProcess::run_service(file, system.log_descriptor()));
    breakage.tell(
        fmt::format("iam, with its relay, runs as process {}; the other three services "
                    "run in this one.",
                    relay.pid()));
    INSTEP_TRY(breakage.wait_until("the replicas are filled", &SystemLook::is_live));
    INSTEP_TRY_ASSIGN(const auto writer, system.make_writer({.rate = kRate, .committed = {}}));
    writer->start();
    INSTEP_TRY(breakage.wait_until("300 changes are published",
                                   [](const SystemLook& look) { return look.published >= 300; }));
    INSTEP_TRY(catch_in_flight(system));
    relay.kill();
    INSTEP_TRY_ASSIGN(const SystemLook killed, system.look());
    INSTEP_TRY(breakage.note_before());
    breakage.tell(
        fmt::format("Killed it with SIGKILL in mid-stream: {} of {} changes were "
                    "published. The writer goes on, {} changes a second.",
                    grouped(killed.published), grouped(killed.committed), kRate));
    INSTEP_TRY_ASSIGN(const SystemLook waiting,
                      breakage.wait_until("changes pile up", [&](const SystemLook& look) {
                          return look.committed >= look.published + kRate;
                      }));
    breakage.tell(
        fmt::format("{} changes wait in iam's log; the services go on reading their "
                    "replicas as they stand.",
                    grouped(waiting.committed - waiting.published)));
    INSTEP_TRY_ASSIGN(relay, DemoProcess::run_service(file, system.log_descriptor()));
    breakage.tell(
        fmt::format("Started it again, as process {}. The dead one's lease has up to ten "
                    "seconds to run; then the new one goes on from the cursor.",
                    relay.pid()));
    INSTEP_TRY(breakage.wait_until("the new relay publishes", [&](const SystemLook& look) {
        return look.published > waiting.published;
    }));
    INSTEP_TRY(writer->stop());
    INSTEP_TRY_ASSIGN(const SystemLook after, system.wait_until_caught_up());
    breakage.tell(fmt::format("It took over and caught up: all {} changes are published.",
                              grouped(after.committed)));
    return breakage.finish();
}

Result<void> break_by_duplicates(Breakage& breakage) {
    constexpr std::uint64_t kChanges = 1000;
    constexpr std::size_t kAgain = 500;
    DemoSystem& system = breakage.system();
    INSTEP_TRY(system.start(kConsumers));
    INSTEP_TRY(system.start(kOwner));
    INSTEP_TRY(breakage.wait_until("the replicas are filled", &SystemLook::is_live));
    INSTEP_TRY_ASSIGN(const auto writer, system.make_writer({.rate = kChanges, .committed = {}}));
    writer->start();
    INSTEP_TRY(breakage.wait_until("1,000 changes are committed", [](const SystemLook& look) {
        return look.committed >= kChanges;
    }));
    INSTEP_TRY(writer->stop());
    INSTEP_TRY_ASSIGN(const SystemLook before, system.wait_until_caught_up());
    INSTEP_TRY(breakage.note_before());
    breakage.tell(
        fmt::format("{} changes were made, published and applied.", grouped(before.committed)));
    INSTEP_TRY(breakage.publish_again(kAgain));
    breakage.tell(
        fmt::format("Stopped iam, published its last {} events a second time, as if its relay had "
                    "died before it could note them, and started it again.",
                    kAgain));
    INSTEP_TRY_ASSIGN(
        const SystemLook after,
        breakage.wait_until("the repeated events have arrived", [&](const SystemLook& look) {
            return look.is_caught_up() && ignored(look.replicas.front()) >= kAgain;
        }));
    for (std::size_t i = 0; i < after.replicas.size(); ++i) {
        const ReplicaLook& replica = after.replicas[i];
        const std::uint64_t again = ignored(replica) - ignored(before.replicas[i]);
        breakage.tell(fmt::format("{} got {} events that it had, and ignored them.", replica.name,
                                  grouped(again)));
        breakage.promise(
            fmt::format("{} ignored each of the {} and applied none.", replica.name, kAgain),
            again == kAgain && replica.counts.applied == before.replicas[i].counts.applied);
    }
    return breakage.finish();
}

}  // namespace instep::cli
