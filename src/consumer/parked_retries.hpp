// Tries parked keys again once they are due, each key's events in their order.
#pragma once

#include "attempts.hpp"
#include "workplace.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace instep {

/// Parked events of a key that are tried in one transaction, unless there is reason for fewer.
inline constexpr std::int64_t kEventsATryMax = 1000;

/// For one thread at a time. Borrows the workplace.
class ParkedRetries {
public:
    explicit ParkedRetries(Workplace& work) : work_(work) {}

    /// Keys that may be tried again now.
    Result<std::vector<DueKey>> due();

    /// Tries them, the oldest `events_max` events of each key at once; returns how many took
    /// effect. Stops before the end when it has taken long enough, so that others need not wait.
    ///
    /// Errors: what is no event's fault; keys before the one that was tried then are done.
    Result<std::uint64_t> run(std::span<const DueKey> keys, std::int64_t events_max);

private:
    /// What one transaction has done so far.
    struct Course {
        Attempts attempts;
        Timestamp now;
        ApplyCounts counts{};
        std::uint64_t keys = 0;
        std::uint64_t events = 0;
        std::vector<std::string_view> released{};
    };

    Result<std::uint64_t> run_together(std::span<const DueKey> keys, std::int64_t events_max);
    Result<void> try_key(Transaction& transaction, Course& course, const WaitingKey& key,
                         std::int64_t events_max);
    Result<void> finish(Transaction& transaction, const Course& course);

    /// The oldest event only, noted before.
    Result<std::uint64_t> run_alone(const DueKey& due);
    Result<void> give_up(const WaitingKey& key, KeyFailure failure);
    Result<ApplyCounts> apply(Attempts& attempts, std::span<const ParkedEvent> parked);

    Workplace& work_;
};

}  // namespace instep
