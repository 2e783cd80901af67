// The course of a run: faults strike, then they end and everything must converge; then what
// works must be seen to work, and what is broken on purpose must be found and repaired.
#pragma once

#include "instep/replica/verification.hpp"
#include "tests/simulation/environment.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace instep::simulation {

/// Runs in a fiber of its own.
class Course {
public:
    /// `start` sets the processes going.
    Course(Environment& environment, std::function<void()> start)
        : environment_(environment), start_(std::move(start)) {}

    void run();

    [[nodiscard]] bool is_over() const noexcept { return over_; }

private:
    struct Verification {
        ReplicaSite* site = nullptr;
        std::string id;
    };

    Result<void> subscribe();
    void strike();
    bool converge(std::string_view phase);
    std::string describe_lag();
    std::string describe_lag(ReplicaSite& site);
    std::string describe_service_lag(SimDatabase& database, std::string_view name) const;
    std::string describe_broker_lag();
    void correct_poison();
    void take_what_was_refused();
    void retry_dead_letters_of(ReplicaSite& site);
    void resume(ReplicaSite& site);
    void ask_for_replay(ReplicaSite& site);
    void expect_replayed(const ReplicaSite& site);
    Verification verify(ReplicaSite& site, VerificationPurpose purpose);
    VerificationStatus status_of(const Verification& verification);
    void expect_no_difference(const Verification& verification);
    void expect_exact(ReplicaSite& site);
    void meddle_and_repair(ReplicaSite& site);
    void in_transaction(SimDatabase& database,
                        const std::function<Result<void>(Transaction&)>& work);

    Environment& environment_;
    std::function<void()> start_;
    std::unique_ptr<ProcessPorts> ports_;
    std::vector<Verification> verifications_;
    bool over_ = false;
};

}  // namespace instep::simulation
