// Tries parked keys again once they are due, each key's events in their order.
#pragma once

#include "workplace.hpp"

#include <cstdint>
#include <span>
#include <string>
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
    /// effect.
    Result<std::uint64_t> run(std::span<const DueKey> keys, std::int64_t events_max);

private:
    Result<std::uint64_t> retry(const DueKey& due, std::int64_t events_max, Timestamp now);

    /// The oldest event only, noted before.
    Result<std::uint64_t> retry_alone(const DueKey& due, Timestamp now);
    Result<std::uint64_t> apply(const std::string& key, Timestamp now, std::int64_t events_max);
    Result<void> fail_key(const std::string& key, const KeyFailure& failure, Timestamp now);

    Workplace& work_;
};

}  // namespace instep
