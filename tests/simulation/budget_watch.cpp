#include "tests/simulation/budget_watch.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::simulation {

namespace {

using std::chrono::microseconds;

/// So that parked keys cost the others about 5 %.
constexpr int kOthersShare = 19;

}  // namespace

void BudgetWatch::step_began() {
    began_ = now();
    first_parked_.reset();
    tried_new_ = false;
}

void BudgetWatch::tried(Tried what) {
    if (what == Tried::kNew) {
        tried_new_ = true;
        return;
    }
    first_parked_ = first_parked_.value_or(now());
    last_parked_ = now();
}

void BudgetWatch::step_ended(Outcome outcome) {
    if (outcome == Outcome::kFailed || !tried_new_) {
        // It may be that nobody waited.
        owed_ = microseconds{0};
        return;
    }
    if (!first_parked_) {
        owed_ -= std::min(owed_, now() - began_);
        return;
    }
    if (owed_.count() > 0) {
        findings_.report(
            fmt::format("{} tries parked keys {} us before others had their share of the time",
                        scheduler_.current_name(), owed_.count()));
    }
    const microseconds of_others = now() - last_parked_;
    owed_ = (last_parked_ - *first_parked_) * kOthersShare;
    owed_ -= std::min(owed_, of_others);
}

}  // namespace instep::simulation
