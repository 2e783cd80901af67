#pragma once

#include "instep/base/random.hpp"
#include "tests/support/passing_broker.hpp"

#include <memory>

namespace instep::stress {

/// Publishes now and then without saying so, so that events are published and delivered again.
/// `inner` and `random` must outlive it.
class FlakyBroker final : public test::PassingBroker {
public:
    FlakyBroker(Broker& inner, Random& random) : PassingBroker(inner), random_(random) {}

    Result<std::unique_ptr<Publisher>> publisher() override;

private:
    Random& random_;
};

}  // namespace instep::stress
