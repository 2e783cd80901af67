// What operators are shown of a service: of its loops while it runs, and of its database and broker
// at any time.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/consumer/halt.hpp"
#include "instep/consumer/replay.hpp"
#include "instep/log/cursors.hpp"
#include "instep/replica/replica.hpp"
#include "instep/replica/scan.hpp"
#include "instep/wal/wal_reader.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace instep {

/// One loop of a service, as health judges it: by progress, not by being alive.
struct FlowStatus {
    /// "relay", "requests", "replica lookup_users", "upkeep".
    std::string name;

    /// "starting", "running", "idle", "standby", "failing" or "stopped"; or the kind of its halt
    /// (halt.hpp).
    std::string state;

    /// Why it fails, or is halted; empty otherwise, and while it is paused.
    std::string error;
    std::uint64_t events = 0;

    /// Those that took a handler longer than `slow_after`.
    std::uint64_t slow_events = 0;

    /// How long the step that runs now has run; 0 between steps.
    std::chrono::microseconds step_age{0};
};

/// What of a topic stands in the log and is not at the broker yet.
struct TopicLag {
    std::string topic;
    LogLag lag;
};

/// A service as its database and broker show it; needs no running process.
struct ServiceStatus {
    std::string service;
    LogLag log_lag;

    /// The service's topics that have subscriptions.
    std::vector<TopicLag> topics;
    std::vector<SubscriptionLag> subscriptions;
    std::vector<SubscriptionProgress> progress;
    std::vector<ReplicaStatus> replicas;
    std::vector<ParkedKey> parked;

    /// The newest ones, first.
    std::vector<ReplayStatus> replays;
    std::vector<ScanStatus> scans;
    std::vector<SubscriptionHalt> halts;

    /// Who relays now; nothing when nobody does.
    std::optional<std::string> relay_owner;

    /// The replication slot; nothing while triggers capture.
    std::optional<WalSlotStatus> wal_slot;
};

}  // namespace instep
