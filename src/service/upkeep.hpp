// Keeps a service small and honest: retention, and whether its flows move.
#pragma once

#include "backlog_watch.hpp"
#include "flow.hpp"
#include "instep/db/database.hpp"
#include "lag_metrics.hpp"

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace instep {

/// What upkeep looks after. All that it refers to must outlive it.
struct UpkeepDuties {
    const ServiceConfig& config;
    Broker& broker;

    /// Told of what waits.
    LagMetrics& lag;
    MetricsRegistry& metrics;
    std::vector<Flow*> relays;

    /// Flows of subscriptions, with the subscription of each.
    std::vector<std::pair<std::string, Flow*>> consumers;

    /// Something to look at in the database, every second.
    std::function<Result<void>(Connection&)> look;
};

/// Something that is deleted once it is old enough.
struct Trimming {
    /// As metrics call it.
    std::string_view what;
    Result<std::uint64_t> (*step)(Transaction&, Timestamp before, std::uint32_t rows_max);
};

class UpkeepFlow final : public Flow {
public:
    UpkeepFlow(UpkeepDuties duties, std::unique_ptr<Connection> connection, const Clock& clock);

private:
    Result<std::uint64_t> step() override;
    void release() override { connection_.reset(); }

    Result<void> judge(const std::vector<SubscriptionLag>& own);

    /// Returns true if there is more to delete.
    Result<bool> trim(const std::vector<SubscriptionLag>& own);
    Result<bool> trim(const Trimming& trimming, Timestamp before);
    [[nodiscard]] Counter& trimmed(std::string_view what) const;

    const UpkeepDuties duties_;
    std::unique_ptr<Connection> connection_;
    BacklogWatch watch_;
    std::chrono::microseconds due_;
};

}  // namespace instep
