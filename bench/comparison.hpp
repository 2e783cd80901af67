// Measuring several ways to do the same thing in turn, so that whatever else the machine does
// hits all of them alike.
#pragma once

#include "bench/bench.hpp"

#include <functional>
#include <string>
#include <vector>

namespace instep::bench {

/// What one round gave: a figure such as events a second, and the CPU time that an event took,
/// all processes together. The CPU time says more than the rate where others use the machine.
struct Measured {
    double figure = 0;
    double cpu_us = 0;
};

/// What the rounds of one way gave; the CPU time is the median too.
struct Figures {
    std::string name;
    double median = 0;
    double lowest = 0;
    double highest = 0;
    double cpu_us = 0;
};

/// One way.
struct Contender {
    std::string name;
    std::function<Measured()> round;
};

/// Runs `work`, which returns how many events it was for. `cpu` tells the CPU time so far.
Measured rate_of(const std::function<Seconds()>& cpu, const std::function<std::int64_t()>& work);

/// Runs the contenders in turn, `rounds` times.
std::vector<Figures> measure(const std::vector<Contender>& contenders, int rounds);

/// "  name: 1234 (1200 to 1300) unit, 12.3 µs CPU each"
void print(const Figures& figures, const std::string& unit);

/// The median of some figures.
double median_of(std::vector<double> figures);

/// The figure that a share of `q` is not above.
double quantile_of(std::vector<double> figures, double q);

}  // namespace instep::bench
