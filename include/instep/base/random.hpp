// Randomness comes from here and nowhere else, so that one seed can decide a whole run.
#pragma once

#include <cstdint>
#include <mutex>

namespace instep {

/// Safe to call from any thread.
class Random {
public:
    virtual ~Random() = default;

    /// Uniform over all 64-bit values.
    virtual std::uint64_t next() = 0;

    /// Uniform in [0, bound). `bound` must not be 0.
    std::uint64_t below(std::uint64_t bound);

    /// Uniform in [0, 1).
    double unit();
};

/// Seeded by the operating system. Not for secrets.
class SystemRandom final : public Random {
public:
    SystemRandom();
    std::uint64_t next() override;

private:
    std::mutex mutex_;
    std::uint64_t state_;
};

/// The same seed gives the same numbers on every machine (SplitMix64).
class SeededRandom final : public Random {
public:
    explicit SeededRandom(std::uint64_t seed);
    std::uint64_t next() override;

private:
    std::mutex mutex_;
    std::uint64_t state_;
};

}  // namespace instep
