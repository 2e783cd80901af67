#include "attempts.hpp"

namespace instep {

Result<ApplyCounts> Attempts::apply(std::span<const Event* const> events) {
    if (events.empty()) {
        return ApplyCounts{};
    }
    if (!is_safe_) {
        INSTEP_TRY(transaction_.set_savepoint());
        is_safe_ = true;
    }
    auto applied = work_.handle(transaction_, events);
    if (applied) {
        INSTEP_TRY(end());
        return applied;
    }
    // The savepoint stands for the next attempt.
    INSTEP_TRY(transaction_.rollback_to_savepoint());
    return applied;
}

Result<void> Attempts::end() {
    if (!is_safe_) {
        return {};
    }
    is_safe_ = false;
    return transaction_.release_savepoint();
}

}  // namespace instep
