// Counters, gauges and histograms, for Prometheus and for `instep status --json`.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace instep {

/// A literal such as "instep_relay_published_total"; anything but instep_ and a-z, 0-9 and _
/// does not compile.
class MetricName {
public:
    consteval MetricName(const char* text) : text_(text) {
        if (!text_.starts_with("instep_") || text_.find_first_not_of(kAllowed) != text_.npos) {
            throw "a metric is named instep_ and then a-z, 0-9 and _";
        }
    }

    [[nodiscard]] std::string_view text() const noexcept { return text_; }

private:
    static constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz0123456789_";

    std::string_view text_;
};

/// A literal of a-z and _, and not "le", which histograms need themselves.
class LabelName {
public:
    consteval LabelName(const char* text) : text_(text) {
        if (text_.empty() || text_ == "le" ||
            text_.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") != text_.npos) {
            throw "a label is named in a-z and _, and not le";
        }
    }

    [[nodiscard]] std::string_view text() const noexcept { return text_; }

private:
    std::string_view text_;
};

/// What tells one series of a metric from the others. Values come from configuration, never
/// from events: every new value is a new series for the life of the process.
struct MetricLabel {
    LabelName name;
    std::string value;
};

using MetricLabels = std::initializer_list<MetricLabel>;

/// Only rises.
class Counter {
public:
    void increment(std::uint64_t by = 1) noexcept {
        value_.fetch_add(by, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t value() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<std::uint64_t> value_ = 0;
};

/// Goes up and down.
class Gauge {
public:
    void set(double value) noexcept { value_.store(value, std::memory_order_relaxed); }
    void add(double by) noexcept { value_.fetch_add(by, std::memory_order_relaxed); }
    [[nodiscard]] double value() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<double> value_ = 0;
};

/// Counts observations in buckets.
class Histogram {
public:
    /// Inclusive upper bounds, rising; one more bucket takes what is above the last.
    explicit Histogram(std::span<const double> bounds);

    void observe(double value) noexcept;

    [[nodiscard]] std::uint64_t count() const noexcept;
    [[nodiscard]] double sum() const noexcept { return sum_.load(std::memory_order_relaxed); }

    /// The value below which the part `q` (0 to 1) of all observations lies, interpolated
    /// within its bucket; the last bound if it lies above. Nothing without observations.
    [[nodiscard]] std::optional<double> quantile(double q) const;

    [[nodiscard]] std::span<const double> bounds() const noexcept { return bounds_; }

    /// Observations of each bucket, one more than there are bounds.
    [[nodiscard]] std::vector<std::uint64_t> buckets() const;

private:
    std::vector<double> bounds_;
    std::vector<std::atomic<std::uint64_t>> buckets_;
    std::atomic<double> sum_ = 0;
};

/// Bounds in seconds for delays, from 1 ms to 1 min.
inline constexpr double kDelayBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                          0.5,   1,      2.5,   5,    10,    30,   60};

/// One series as it stood when it was read.
struct MetricSample {
    std::string name;
    std::vector<std::pair<std::string, std::string>> labels;

    /// "counter", "gauge" or "histogram".
    std::string_view kind;

    /// The value of a counter or gauge, the number of observations of a histogram.
    double value = 0;

    /// For histograms with observations only.
    std::optional<double> sum;
    std::optional<double> p50;
    std::optional<double> p95;
    std::optional<double> p99;
};

/// How metrics are written for monitoring systems.
enum class MetricsFormat : std::uint8_t {
    kPrometheus,   ///< Prometheus' text exposition format 0.0.4.
    kOpenMetrics,  ///< OpenMetrics 1.0.
};

/// What an HTTP answer says of a text in this format.
std::string_view content_type_of(MetricsFormat format) noexcept;

/// The format that a client asks for by an HTTP Accept header: OpenMetrics if it is named there and
/// not put behind text/plain, otherwise Prometheus', whatever the header holds.
MetricsFormat choose_metrics_format(std::string_view accept) noexcept;

/// Owns all metrics of a process; what it hands out lives as long as it does. Safe to call
/// from any thread; increments take no lock.
class MetricsRegistry {
public:
    /// Each returns the series with this name and these labels, made at the first call. One
    /// name has one kind: asking for another ends the process.
    Counter& counter(MetricName name, std::string_view help, MetricLabels labels = {});
    Gauge& gauge(MetricName name, std::string_view help, MetricLabels labels = {});
    Histogram& histogram(MetricName name, std::string_view help, std::span<const double> bounds,
                         MetricLabels labels = {});

    /// All of it as monitoring systems read it, metrics and series in order of their text.
    [[nodiscard]] std::string to_text(MetricsFormat format) const;

    [[nodiscard]] std::vector<MetricSample> snapshot() const;

private:
    using Labels = std::vector<std::pair<std::string, std::string>>;
    using Metric = std::variant<Counter, Gauge, Histogram>;

    /// Never empty.
    struct Family {
        std::string help;
        std::map<Labels, Metric> series;

        [[nodiscard]] std::string_view kind() const;
    };

    template <class Kind, class... Arguments>
    Kind& find_or_create(MetricName name, std::string_view help, MetricLabels labels,
                         Arguments... arguments);

    mutable std::mutex mutex_;
    std::map<std::string, Family, std::less<>> families_;
};

}  // namespace instep
