#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace instep::storm {

enum class Role : std::uint8_t { kRelay, kConsumer };

/// A process of the storm, as its command line says.
struct WorkerOptions {
    Role role = Role::kRelay;

    /// URL of the owner's database, or of the consumer's.
    std::string database;
    std::string broker;

    /// Consumers only.
    std::string subscription;
    std::string member;
};

struct StormOptions {
    /// "embedded", or the name of a broker whose server the storm starts for itself.
    std::string broker = "embedded";
    std::chrono::milliseconds time{10'000};
    std::uint64_t seed = 1;
    std::uint32_t writers = 2;
    std::uint32_t keys = 40;
    std::uint32_t partitions = 2;

    /// Nothing fails: what is found then is a mistake of the storm itself.
    bool calm = false;

    /// Effects without their inbox, so that repeats must be found.
    bool forgetful = false;
};

}  // namespace instep::storm
