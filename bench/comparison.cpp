#include "bench/comparison.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::bench {

double quantile_of(std::vector<double> figures, double q) {
    std::ranges::sort(figures);
    return figures[static_cast<std::size_t>(q * static_cast<double>(figures.size() - 1) + 0.5)];
}

double median_of(std::vector<double> figures) { return quantile_of(std::move(figures), 0.5); }

Measured rate_of(const std::function<Seconds()>& cpu, const std::function<std::int64_t()>& work) {
    double events = 0;
    const Seconds before = cpu();
    const Seconds time = time_of([&] { events = static_cast<double>(work()); });
    const Seconds used = cpu() - before;
    return {events / time.count(), used.count() * 1e6 / events};
}

std::vector<Figures> measure(const std::vector<Contender>& contenders, int rounds) {
    std::vector<std::vector<double>> results(contenders.size());
    std::vector<std::vector<double>> cpu(contenders.size());
    for (int round = 0; round < rounds; ++round) {
        for (std::size_t i = 0; i < contenders.size(); ++i) {
            const Measured measured = contenders[i].round();
            results[i].push_back(measured.figure);
            cpu[i].push_back(measured.cpu_us);
        }
    }
    std::vector<Figures> figures;
    for (std::size_t i = 0; i < contenders.size(); ++i) {
        figures.push_back({contenders[i].name, median_of(results[i]), std::ranges::min(results[i]),
                           std::ranges::max(results[i]), median_of(cpu[i])});
    }
    return figures;
}

void print(const Figures& figures, const std::string& unit) {
    const int decimals = figures.median < 100 ? 2 : 0;
    fmt::print("  {}: {:.{}f} ({:.{}f} to {:.{}f}) {}{}\n", figures.name, figures.median, decimals,
               figures.lowest, decimals, figures.highest, decimals, unit,
               figures.cpu_us > 0 ? fmt::format(", {:.1f} µs CPU each", figures.cpu_us) : "");
}

}  // namespace instep::bench
