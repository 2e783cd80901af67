// What all simulated consumers have in common.
#pragma once

#include "instep/consumer/consumer.hpp"
#include "tests/simulation/processes.hpp"

#include <memory>
#include <string_view>
#include <vector>

namespace instep::simulation {

/// A consumer of one subscription. Borrows the environment.
class ConsumerProcess : public Process {
protected:
    ConsumerProcess(Environment& environment, Role role) : environment_(environment), role_(role) {}

    /// `options` states what differs from the other consumers.
    Result<void> open(SimDatabase& database, SubscriptionWatch& watch, std::string_view topic,
                      std::unique_ptr<Handler> handler, ConsumerOptions options = {});

    Result<std::uint64_t> consume() { return consumer_->run_once(); }
    [[nodiscard]] Environment& environment() const { return environment_; }
    [[nodiscard]] ProcessPorts& ports() const { return *ports_; }

private:
    Environment& environment_;
    Role role_;
    std::unique_ptr<ProcessPorts> ports_;
    std::vector<std::unique_ptr<Handler>> handlers_;
    std::unique_ptr<Consumer> consumer_;
};

}  // namespace instep::simulation
