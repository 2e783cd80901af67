#include "tests/simulation/consumer_process.hpp"

#include <utility>

namespace instep::simulation {

Result<void> ConsumerProcess::open(SimDatabase& database, SubscriptionWatch& watch,
                                   std::string_view topic, std::unique_ptr<Handler> handler,
                                   ConsumerOptions options) {
    INSTEP_TRY_ASSIGN(ports_, ProcessPorts::open(environment_, role_, database, &watch));
    handlers_.push_back(std::move(handler));
    const Options& drawn = environment_.options;
    options.subscription = watch.subscription();
    options.topic = topic;
    options.member = environment_.scheduler.current_name();
    options.batch_events_max = drawn.consumer_batch_max;
    options.lanes = drawn.lanes;
    options.parked_backoff.initial = drawn.parked_delay;
    options.parked_backoff.max = drawn.parked_delay * 8;
    options.member_timeout = drawn.member_timeout;
    const PlantedBug* bug = environment_.bug;
    if (bug != nullptr && bug->role == role_) {
        if (bug->handler) {
            handlers_.push_back(bug->handler(*handlers_.back()));
        }
        if (bug->consumer) {
            bug->consumer(options);
        }
    }
    INSTEP_TRY_ASSIGN(
        consumer_, Consumer::create(ports_->database(), ports_->broker(), *handlers_.back(),
                                    environment_.random, environment_.logger, std::move(options)));
    return {};
}

}  // namespace instep::simulation
