#include "instep/base/random.hpp"

#include <cassert>
#include <random>

namespace instep {

namespace {

// SplitMix64 (Steele, Lea and Flood, 2014): one addition and a mixer, full period.
std::uint64_t split_mix(std::uint64_t& state) {
    state += 0x9E3779B97F4A7C15U;
    std::uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
    return mixed ^ (mixed >> 31U);
}

}  // namespace

std::uint64_t Random::below(std::uint64_t bound) {
    assert(bound != 0);
    const std::uint64_t limit = bound * (UINT64_MAX / bound);
    std::uint64_t value = next();
    while (value >= limit) {
        value = next();
    }
    return value % bound;
}

double Random::unit() { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }

SystemRandom::SystemRandom() {
    std::random_device device;
    state_ = (std::uint64_t{device()} << 32U) | device();
}

std::uint64_t SystemRandom::next() {
    const std::scoped_lock lock(mutex_);
    return split_mix(state_);
}

SeededRandom::SeededRandom(std::uint64_t seed) : state_(seed) {}

std::uint64_t SeededRandom::next() {
    const std::scoped_lock lock(mutex_);
    return split_mix(state_);
}

}  // namespace instep
