#include "tests/simulation/options.hpp"

#include <fmt/format.h>

namespace instep::simulation {

namespace {

class Draw {
public:
    explicit Draw(Random& random) : random_(random) {}

    bool chance(double probability) { return random_.unit() < probability; }

    std::uint32_t between(std::uint32_t low, std::uint32_t high) {
        return low + static_cast<std::uint32_t>(random_.below(high - low + 1));
    }

    /// Small numbers often, since they make boundaries; large ones sometimes.
    std::uint32_t bound(std::uint32_t high) {
        return chance(0.5) ? between(1, 4) : chance(0.5) ? between(1, high) : high;
    }

    std::chrono::milliseconds millis(std::uint32_t low, std::uint32_t high) {
        return std::chrono::milliseconds{between(low, high)};
    }

    /// A fault that is absent in a part of the runs.
    double fault(double highest) { return chance(0.4) ? 0.0 : random_.unit() * highest; }

private:
    Random& random_;
};

Faults draw_faults(Draw& draw) {
    Faults faults;
    // Some runs are healthy throughout: nothing may be reported there.
    if (draw.chance(0.05)) {
        return faults;
    }
    faults.crash = draw.fault(0.006);
    faults.pause = draw.fault(0.02);
    faults.busy = draw.fault(0.05);
    faults.unavailable = draw.fault(0.02);
    faults.commit_unknown = draw.fault(0.1);
    faults.broker_unavailable = draw.fault(0.05);
    faults.refused = draw.fault(0.2);
    faults.confirm_lost = draw.fault(0.2);
    faults.acknowledge_lost = draw.fault(0.2);
    faults.redelivered = draw.fault(0.15);
    faults.fewer = draw.fault(0.5);
    faults.stale_delivery = draw.chance(0.5) ? 1.0 : 0.0;
    faults.cut_off = draw.fault(0.06);
    faults.unroutable = draw.fault(0.1);
    faults.handler_failure = draw.fault(0.1);
    faults.target_down = draw.fault(0.05);
    return faults;
}

Handling draw_handling(Draw& draw) {
    Handling handling;
    handling.attempts_max = draw.chance(0.4) ? 0 : draw.between(1, 4);
    if (draw.chance(0.4)) {
        handling.on_failure = draw.chance(0.6) ? OnFailure::kSkip : OnFailure::kStopFlow;
    }
    if (draw.chance(0.5)) {
        handling.circuit = {.failures_to_open = draw.between(1, 3),
                            .open_for = draw.millis(50, 2000),
                            .probes_max = 1};
    }
    handling.parked_keys_max = draw.chance(0.8) ? handling.parked_keys_max : draw.between(1, 3);
    handling.hopeless = draw.fault(0.15);
    handling.unwanted = draw.fault(0.15);
    return handling;
}

OnFailure draw_on_failure(Draw& draw) {
    return draw.chance(0.4)   ? OnFailure::kBlockKey
           : draw.chance(0.5) ? OnFailure::kSkip
                              : OnFailure::kStopFlow;
}

/// What holds a subscription with a handler of its own back, besides its failures.
void draw_flow(Draw& draw, Handling& handling) {
    for (const ErrorCode error : {ErrorCode::kConflict, ErrorCode::kTimeout}) {
        if (draw.chance(0.3)) {
            const auto delay = draw.millis(1, 200);
            handling.policies[error] = {.backoff = {.initial = delay, .max = delay * 8},
                                        .attempts_max = draw.between(1, 4),
                                        .on_failure = draw_on_failure(draw)};
        }
    }
    handling.rate_limit = draw.chance(0.7) ? 0 : draw.between(2, 30);
    handling.reads_log = draw.chance(0.2);
    handling.pauses = draw.chance(0.4);
    handling.replays = draw.chance(0.5);
}

GroupOptions draw_group(Draw& draw) {
    GroupOptions group;
    if (draw.chance(0.6)) {
        return group;
    }
    group.tables = draw.between(2, 3);
    group.events_held_max = draw.chance(0.5) ? group.events_held_max : draw.between(1, 8);
    group.refused = draw.chance(0.7) ? 0.0 : 0.1;
    group.joins_after = draw.chance(0.5) ? std::chrono::milliseconds{0} : draw.millis(1, 5000);
    return group;
}

/// What a kind of broker has no choice about.
void fit_to_broker(Options& options) {
    switch (options.broker) {
        case BrokerKind::kEmbedded:
            return;
        case BrokerKind::kRedis:
            break;
        case BrokerKind::kAmqp:
            options.fences_publishers = false;
            options.remembers_last_version = false;
            break;
        case BrokerKind::kKafka:
            options.fences_publishers = false;
            options.faults.stale_delivery = 1.0;
            break;
    }
    options.real_broker = false;
}

}  // namespace

FailurePolicy Handling::policy_of(std::string_view error) const {
    for (const auto& [code, policy] : policies) {
        if (instep::to_string(code) == error) {
            return policy;
        }
    }
    return {.attempts_max = attempts_max, .on_failure = on_failure};
}

Options draw_options(Random& random, std::optional<BrokerKind> broker) {
    Draw draw(random);
    Options options;
    options.writers = draw.between(1, 2);
    options.relays = draw.between(1, 2);
    options.replicas = draw.between(1, 2);
    options.members = draw.between(1, 2);
    options.counts_effects = draw.chance(0.6);
    options.keys = draw.between(3, 8);
    options.text_keys = draw.chance(0.5);
    options.partitions = draw.chance(0.25) ? 2 : 1;
    options.transactions = draw.between(6, 24);
    options.statements_max = draw.between(1, 4);
    options.rollback = draw.chance(0.5) ? 0.0 : 0.3;
    options.poison = draw.chance(0.8) ? 0.0 : 0.1;
    options.relay_batch_max = draw.bound(100);
    options.consumer_batch_max = draw.bound(100);
    options.lanes = draw.bound(16);
    options.chunk_rows_max = draw.bound(100);
    options.digest_rows = draw.between(1, 4);
    options.digests_max = draw.between(1, 3);
    options.lease = draw.millis(1000, 4000);
    options.member_timeout = draw.millis(1000, 4000);
    options.parked_delay = draw.millis(1, 200);
    options.clock_drift = draw.chance(0.5) ? std::chrono::milliseconds{0} : draw.millis(1, 50);
    options.broker = kBrokerKinds[draw.between(0, kBrokerKinds.size() - 1)];
    options.broker = broker.value_or(options.broker);
    options.real_broker = draw.chance(0.4);
    options.fences_publishers = draw.chance(0.7);
    options.remembers_last_version = draw.chance(0.7);
    options.visibility_delay =
        draw.chance(0.5) ? std::chrono::milliseconds{0} : draw.millis(1, 500);
    options.faulty_for = std::chrono::seconds{draw.between(5, 20)};
    options.step_max = std::chrono::microseconds{draw.between(500, 10'000)};
    options.operations_every = draw.millis(300, 4000);
    options.faults = draw_faults(draw);
    options.handling = draw_handling(draw);
    options.group = draw_group(draw);
    // The changes of a transaction may be of any partition.
    options.partitions = options.group.tables > 0 ? 1 : options.partitions;
    // More take turns, so each has to wait longer for its own.
    options.lease *= options.group.tables > 0 ? 2 : 1;
    options.member_timeout *= options.group.tables > 0 ? 2 : 1;
    draw_flow(draw, options.handling);
    fit_to_broker(options);
    return options;
}

std::string to_string(const Options& options) {
    const Faults& faults = options.faults;
    std::string text = fmt::format(
        "writers={} relays={} replicas={} members={} counts_effects={} keys={} text_keys={} "
        "partitions={} transactions={} statements_max={} rollback={} poison={} ",
        options.writers, options.relays, options.replicas, options.members, options.counts_effects,
        options.keys, options.text_keys, options.partitions, options.transactions,
        options.statements_max, options.rollback, options.poison);
    text += fmt::format(
        "relay_batch_max={} consumer_batch_max={} lanes={} chunk_rows_max={} digest_rows={} "
        "digests_max={} lease={}ms member_timeout={}ms parked_delay={}ms clock_drift={}ms ",
        options.relay_batch_max, options.consumer_batch_max, options.lanes, options.chunk_rows_max,
        options.digest_rows, options.digests_max, options.lease.count(),
        options.member_timeout.count(), options.parked_delay.count(), options.clock_drift.count());
    text += fmt::format(
        "broker={}{} fences_publishers={} remembers_last_version={} visibility_delay={}ms "
        "faulty_for={}s step_max={}us operations_every={}ms ",
        to_string(options.broker), options.real_broker ? "" : " (simulated)",
        options.fences_publishers, options.remembers_last_version, options.visibility_delay.count(),
        options.faulty_for.count(), options.step_max.count(), options.operations_every.count());
    const Handling& handling = options.handling;
    text += fmt::format(
        "attempts_max={} on_failure={} circuit={} open_for={}ms parked_keys_max={} "
        "hopeless={:.4f} unwanted={:.4f} ",
        handling.attempts_max, to_string(handling.on_failure),
        handling.circuit ? handling.circuit->failures_to_open : 0,
        handling.circuit ? handling.circuit->open_for.count() : 0, handling.parked_keys_max,
        handling.hopeless, handling.unwanted);
    for (const auto& [error, policy] : handling.policies) {
        text += fmt::format("{}={}/{} ", instep::to_string(error), to_string(policy.on_failure),
                            policy.attempts_max);
    }
    text += fmt::format("rate_limit={} reads_log={} pauses={} replays={} ", handling.rate_limit,
                        handling.reads_log, handling.pauses, handling.replays);
    const GroupOptions& group = options.group;
    text += fmt::format("group={} events_held_max={} refused={} joins_after={}ms ", group.tables,
                        group.events_held_max, group.refused, group.joins_after.count());
    return text + fmt::format(
                      "crash={:.4f} pause={:.4f} busy={:.4f} unavailable={:.4f} "
                      "commit_unknown={:.4f} broker_unavailable={:.4f} refused={:.4f} "
                      "confirm_lost={:.4f} acknowledge_lost={:.4f} redelivered={:.4f} fewer={:.4f} "
                      "stale_delivery={} cut_off={:.4f} unroutable={:.4f} "
                      "handler_failure={:.4f} target_down={:.4f}",
                      faults.crash, faults.pause, faults.busy, faults.unavailable,
                      faults.commit_unknown, faults.broker_unavailable, faults.refused,
                      faults.confirm_lost, faults.acknowledge_lost, faults.redelivered,
                      faults.fewer, faults.stale_delivery, faults.cut_off, faults.unroutable,
                      faults.handler_failure, faults.target_down);
}

}  // namespace instep::simulation
