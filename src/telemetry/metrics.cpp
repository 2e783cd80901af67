#include "instep/telemetry/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace instep {

namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

void fill(MetricSample& sample, const Counter& metric) {
    sample.value = static_cast<double>(metric.value());
}

void fill(MetricSample& sample, const Gauge& metric) { sample.value = metric.value(); }

void fill(MetricSample& sample, const Histogram& metric) {
    sample.value = static_cast<double>(metric.count());
    sample.sum = metric.sum();
    sample.p50 = metric.quantile(0.5);
    sample.p95 = metric.quantile(0.95);
    sample.p99 = metric.quantile(0.99);
}

}  // namespace

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()), buckets_(bounds.size() + 1) {}

void Histogram::observe(double value) noexcept {
    const auto bound = std::ranges::lower_bound(bounds_, value);
    const auto bucket = static_cast<std::size_t>(bound - bounds_.begin());
    buckets_[bucket].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
}

std::uint64_t Histogram::count() const noexcept {
    std::uint64_t count = 0;
    for (const auto& bucket : buckets_) {
        count += bucket.load(std::memory_order_relaxed);
    }
    return count;
}

std::vector<std::uint64_t> Histogram::buckets() const {
    std::vector<std::uint64_t> counts;
    counts.reserve(buckets_.size());
    for (const auto& bucket : buckets_) {
        counts.push_back(bucket.load(std::memory_order_relaxed));
    }
    return counts;
}

std::optional<double> Histogram::quantile(double q) const {
    const std::vector<std::uint64_t> counts = buckets();
    std::uint64_t total = 0;
    for (const std::uint64_t count : counts) {
        total += count;
    }
    if (total == 0) {
        return std::nullopt;
    }
    const double rank = q * static_cast<double>(total);
    double below = 0;
    for (std::size_t i = 0; i < bounds_.size(); ++i) {
        const auto here = static_cast<double>(counts[i]);
        if (here > 0 && below + here >= rank) {
            const double start = i == 0 ? std::min(0.0, bounds_[0]) : bounds_[i - 1];
            return start + (bounds_[i] - start) * std::max(rank - below, 0.0) / here;
        }
        below += here;
    }
    return bounds_.empty() ? std::nullopt : std::optional(bounds_.back());
}

template <class Kind, class... Arguments>
Kind& MetricsRegistry::find_or_create(MetricName name, std::string_view help, MetricLabels labels,
                                      Arguments... arguments) {
    Labels sorted;
    for (const MetricLabel& label : labels) {
        sorted.emplace_back(label.name.text(), label.value);
    }
    std::ranges::sort(sorted);
    const std::scoped_lock lock(mutex_);
    auto family = families_.find(name.text());
    if (family == families_.end()) {
        family = families_.emplace(name.text(), Family{std::string(help), {}}).first;
    }
    auto& series = family->second.series;
    if (!series.empty() && !std::holds_alternative<Kind>(series.begin()->second)) {
        fmt::print(stderr, "metric {} is asked for as two kinds\n", name.text());
        std::abort();
    }
    const auto [found, created] =
        series.try_emplace(std::move(sorted), std::in_place_type<Kind>, arguments...);
    return std::get<Kind>(found->second);
}

Counter& MetricsRegistry::counter(MetricName name, std::string_view help, MetricLabels labels) {
    return find_or_create<Counter>(name, help, labels);
}

Gauge& MetricsRegistry::gauge(MetricName name, std::string_view help, MetricLabels labels) {
    return find_or_create<Gauge>(name, help, labels);
}

Histogram& MetricsRegistry::histogram(MetricName name, std::string_view help,
                                      std::span<const double> bounds, MetricLabels labels) {
    return find_or_create<Histogram>(name, help, labels, bounds);
}

std::string_view MetricsRegistry::Family::kind() const {
    const Metric& first = series.begin()->second;
    return std::holds_alternative<Counter>(first) ? "counter"
           : std::holds_alternative<Gauge>(first) ? "gauge"
                                                  : "histogram";
}

std::vector<MetricSample> MetricsRegistry::snapshot() const {
    const std::scoped_lock lock(mutex_);
    std::vector<MetricSample> samples;
    for (const auto& [name, family] : families_) {
        for (const auto& [labels, series] : family.series) {
            MetricSample& sample = samples.emplace_back();
            sample.name = name;
            sample.labels = labels;
            sample.kind = family.kind();
            std::visit([&](const auto& metric) { fill(sample, metric); }, series);
        }
    }
    return samples;
}

}  // namespace instep
