#include "demo_latency.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace instep::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kLookEvery = 1ms;
constexpr std::chrono::microseconds kNoteEvery = 5ms;
constexpr std::size_t kExpectedMax = 2000;
constexpr auto kIdle = 100ms;

/// From 50 µs to about two minutes, each five percent above the one before; in milliseconds.
std::vector<double> bounds() {
    constexpr int kSteps = 302;
    std::vector<double> bounds;
    for (int step = 0; step < kSteps; ++step) {
        bounds.push_back(0.05 * std::pow(1.05, step));
    }
    return bounds;
}

double milliseconds(std::int64_t us) { return static_cast<double>(us) / 1000; }

}  // namespace

LatencyRecord::LatencyRecord() : histogram_(bounds()) {}

void LatencyRecord::add(std::chrono::microseconds latency) {
    histogram_.observe(milliseconds(latency.count()));
    std::int64_t max = max_us_;
    while (max < latency.count() && !max_us_.compare_exchange_weak(max, latency.count())) {
    }
}

std::optional<LatencyFigures> LatencyRecord::figures() const {
    const auto p50 = histogram_.quantile(0.5);
    const auto p99 = histogram_.quantile(0.99);
    if (!p50 || !p99) {
        return std::nullopt;
    }
    const double max = milliseconds(max_us_);
    const auto rounded = [max](double ms) { return std::min(std::round(ms * 100) / 100, max); };
    return LatencyFigures{rounded(*p50), rounded(*p99), max};
}

LatencyProbe::LatencyProbe(std::vector<WatchedReplica> replicas, const Clock& clock, Random& random,
                           Logger& logger)
    : clock_(clock),
      loop_(
          {.name = "latency probe"}, [this](const std::stop_token&) { return look(); },
          [this](const std::stop_token& stop, std::chrono::milliseconds) { wait(stop); }, clock,
          random, logger) {
    for (WatchedReplica& replica : replicas) {
        watches_.push_back(std::make_unique<Watch>(std::move(replica)));
    }
}

Result<void> LatencyProbe::stop() { return loop_.stop(10s); }

const LatencyRecord& LatencyProbe::of(std::size_t replica) const {
    return watches_[replica]->record;
}

void LatencyProbe::note(const CommittedChange& change) {
    if (!measures_) {
        return;
    }
    {
        const std::scoped_lock lock(mutex_);
        const bool is_full = std::ranges::any_of(
            watches_, [](const auto& watch) { return watch->expected.size() >= kExpectedMax; });
        if (is_full || change.committed - last_noted_ < kNoteEvery) {
            return;
        }
        last_noted_ = change.committed;
        for (const auto& watch : watches_) {
            watch->expected.push_back(change);
        }
    }
    noted_.notify_all();
}

bool LatencyProbe::is_drained() const {
    const std::scoped_lock lock(mutex_);
    return std::ranges::all_of(watches_, [](const auto& watch) { return watch->expected.empty(); });
}

Result<std::uint64_t> LatencyProbe::look() {
    for (const auto& watch : watches_) {
        INSTEP_TRY(look_at(*watch));
    }
    return 0;
}

/// Changes arrive in the order of their commits, so only the oldest is asked for.
Result<void> LatencyProbe::look_at(Watch& watch) {
    INSTEP_TRY_ASSIGN(const std::uint64_t token, watch.replica.connection->change_token());
    for (bool is_first = true;; is_first = false) {
        CommittedChange oldest;
        {
            const std::scoped_lock lock(mutex_);
            if (watch.expected.empty() || (is_first && watch.token == token)) {
                return {};
            }
            oldest = watch.expected.front();
        }
        INSTEP_TRY_ASSIGN(const bool arrived, has_arrived(watch.replica, oldest));
        if (!arrived) {
            watch.token = token;
            return {};
        }
        const auto latency = clock_.monotonic() - oldest.committed;
        watch.record.add(latency);
        all_.add(latency);
        const std::scoped_lock lock(mutex_);
        watch.expected.pop_front();
        watch.token.reset();
    }
}

Result<bool> LatencyProbe::has_arrived(const WatchedReplica& replica,
                                       const CommittedChange& change) {
    const ValueView parameters[] = {std::string_view(change.key),
                                    std::string_view(change.updated_at)};
    INSTEP_TRY_ASSIGN(
        const auto row,
        replica.connection->query(fmt::format("SELECT 1 FROM {} WHERE id = $1 AND updated_at >= $2",
                                              replica.definition.table),
                                  parameters));
    INSTEP_TRY_ASSIGN(const bool is_there, row->next());
    if (is_there) {
        return true;
    }
    INSTEP_TRY_ASSIGN(const RowExplanation explained,
                      explain_row(*replica.connection, replica.definition, change.key));
    return explained.deleted_at.has_value();
}

void LatencyProbe::wait(const std::stop_token& stop) {
    const bool drained = is_drained();
    std::unique_lock lock(mutex_);
    if (drained) {
        noted_.wait_for(lock, stop, kIdle, [this] { return !watches_.front()->expected.empty(); });
    } else {
        noted_.wait_for(lock, stop, kLookEvery, [] { return false; });
    }
}

}  // namespace instep::cli
