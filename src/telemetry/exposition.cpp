#include "instep/telemetry/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

namespace instep {

namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

constexpr std::string_view kTotal = "_total";
constexpr std::string_view kOpenMetricsType = "application/openmetrics-text";

std::string number(double value) {
    if (std::isnan(value)) {
        return "NaN";
    }
    if (std::isinf(value)) {
        return value > 0 ? "+Inf" : "-Inf";
    }
    return fmt::to_string(value);
}

void append_escaped(std::string& out, std::string_view text, std::string_view escaped) {
    for (const char c : text) {
        if (c == '\n') {
            out.append("\\n");
            continue;
        }
        out.append(escaped.find(c) == std::string_view::npos ? "" : "\\").push_back(c);
    }
}

/// Appends to a text in one of the formats.
class Exposition {
public:
    Exposition(std::string& out, MetricsFormat format)
        : out_(out), is_open_(format == MetricsFormat::kOpenMetrics) {}

    void begin(std::string_view name, std::string_view help, std::string_view kind) {
        // OpenMetrics calls the counter without what its one series ends with.
        if (is_open_ && kind == "counter" && name.ends_with(kTotal)) {
            name.remove_suffix(kTotal.size());
        }
        fmt::format_to(std::back_inserter(out_), "# HELP {} ", name);
        append_escaped(out_, help, is_open_ ? "\\\"" : "\\");
        fmt::format_to(std::back_inserter(out_), "\n# TYPE {} {}\n", name, kind);
    }

    void series(const std::string& name, const Labels& labels, const Counter& metric) {
        line(name, labels, fmt::to_string(metric.value()));
    }

    void series(const std::string& name, const Labels& labels, const Gauge& metric) {
        line(name, labels, number(metric.value()));
    }

    void series(const std::string& name, const Labels& labels, const Histogram& metric) {
        // Counted from one reading of the buckets, so that +Inf and _count agree.
        const std::vector<std::uint64_t> buckets = metric.buckets();
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < buckets.size(); ++i) {
            total += buckets[i];
            const bool last = i == metric.bounds().size();
            line(name + "_bucket", labels, fmt::to_string(total),
                 last ? "+Inf" : bound(metric.bounds()[i]));
        }
        line(name + "_sum", labels, number(metric.sum()));
        line(name + "_count", labels, fmt::to_string(total));
    }

    void end() {
        if (is_open_) {
            out_.append("# EOF\n");
        }
    }

private:
    /// OpenMetrics wants a bound to look like a number with a fraction.
    [[nodiscard]] std::string bound(double value) const {
        std::string text = number(value);
        if (is_open_ && text.find_first_not_of("-0123456789") == std::string::npos) {
            text += ".0";
        }
        return text;
    }

    /// `name{a="1",le="0.5"} value`; no `le` unless it is given.
    void line(std::string_view name, const Labels& labels, std::string_view value,
              std::string_view le = {}) {
        out_.append(name);
        char separator = '{';
        const auto append_label = [&](std::string_view label, std::string_view text) {
            out_.push_back(std::exchange(separator, ','));
            out_.append(label).append("=\"");
            append_escaped(out_, text, "\\\"");
            out_.push_back('"');
        };
        for (const auto& [label, text] : labels) {
            append_label(label, text);
        }
        if (!le.empty()) {
            append_label("le", le);
        }
        out_.append(separator == ',' ? "} " : " ").append(value).push_back('\n');
    }

    std::string& out_;
    const bool is_open_;
};

std::string_view trimmed(std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
    return text.substr(0, text.find_last_not_of(" \t") + 1);
}

/// What stands before the next separator; `text` goes on behind it.
std::string_view take_part(std::string_view& text, char separator) {
    const std::size_t end = std::min(text.find(separator), text.size());
    const std::string_view part = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    return part;
}

/// How much the header wants the type, 0 to 1; 0 if it does not name it, or only in versions that
/// we do not write.
double wish_for(std::string_view accept, std::string_view type, std::string_view version) {
    double wish = 0;
    while (!accept.empty()) {
        std::string_view range = take_part(accept, ',');
        if (take_part(range, ';') != type) {
            continue;
        }
        double q = 1;
        bool has_version = true;
        while (!range.empty()) {
            const std::string_view parameter = take_part(range, ';');
            if (parameter.starts_with("q=")) {
                const std::string_view text = parameter.substr(2);
                std::from_chars(text.data(), text.data() + text.size(), q);
            } else if (parameter.starts_with("version=")) {
                has_version = parameter.substr(8) == version;
            }
        }
        wish = std::max(wish, has_version ? q : 0);
    }
    return wish;
}

}  // namespace

std::string_view content_type_of(MetricsFormat format) noexcept {
    return format == MetricsFormat::kOpenMetrics
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

MetricsFormat choose_metrics_format(std::string_view accept) noexcept {
    const double open = wish_for(accept, kOpenMetricsType, "1.0.0");
    return open > 0 && open >= wish_for(accept, "text/plain", "0.0.4") ? MetricsFormat::kOpenMetrics
                                                                       : MetricsFormat::kPrometheus;
}

std::string MetricsRegistry::to_text(MetricsFormat format) const {
    const std::scoped_lock lock(mutex_);
    std::string out;
    Exposition exposition(out, format);
    for (const auto& [name, family] : families_) {
        exposition.begin(name, family.help, family.kind());
        for (const auto& [labels, series] : family.series) {
            std::visit([&](const auto& metric) { exposition.series(name, labels, metric); },
                       series);
        }
    }
    exposition.end();
    return out;
}

}  // namespace instep
