#include "tests/simulation/chaos.hpp"

namespace instep::simulation {

namespace {

constexpr std::chrono::milliseconds kPauseMin{500};
constexpr std::uint64_t kPauseRangeMs = 6000;

std::unexpected<Error> dead() { return fail(ErrorCode::kClosed, "the simulated process has died"); }

}  // namespace

Result<void> Chaos::may_crash() {
    if (scheduler_.is_dead() || strikes(&Faults::crash)) {
        if (!scheduler_.crash()) {
            return dead();
        }
    }
    return {};
}

Result<void> Chaos::enter_step() {
    if (!scheduler_.yield()) {
        return dead();
    }
    return may_crash();
}

Result<void> Chaos::enter_call() {
    INSTEP_TRY(enter_step());
    if (strikes(&Faults::pause)) {
        scheduler_.trace("pause", "", "");
        if (!scheduler_.rest(kPauseMin + std::chrono::milliseconds{random_.below(kPauseRangeMs)})) {
            return dead();
        }
    }
    return {};
}

}  // namespace instep::simulation
