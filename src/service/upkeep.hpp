// Keeps a service small and honest: retention, and whether its flows move.
#pragma once

#include "backlog_watch.hpp"
#include "flow.hpp"
#include "instep/db/database.hpp"
#include "lag_metrics.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace instep {

/// What upkeep looks after. All that it refers to must outlive it.
struct UpkeepDuties {
    const ServiceConfig& config;
    Broker& broker;

    /// Told of what waits.
    LagMetrics& lag;
    std::vector<Flow*> relays;

    /// Flows of subscriptions, with the subscription of each.
    std::vector<std::pair<std::string, Flow*>> consumers;

    /// Something to look at in the database, every second.
    std::function<Result<void>(Connection&)> look;
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

    const UpkeepDuties duties_;
    std::unique_ptr<Connection> connection_;
    BacklogWatch watch_;
    std::chrono::microseconds due_;
};

}  // namespace instep
