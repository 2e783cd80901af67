// A log with events as capture triggers write them, and a broker that takes them at once.
#pragma once

#include "bench/postgres/server.hpp"
#include "instep/broker/broker.hpp"
#include "instep/db/database.hpp"
#include "instep/telemetry/logger.hpp"

#include <cstdint>
#include <string>

namespace instep::bench {

/// Makes Instep's tables in the database.
void make_service_tables(Database& database);

/// Appends the events `first` up to and including `last`, in transactions of `batch`.
void append_events(Session& session, std::int64_t first, std::int64_t last, std::int64_t batch);

/// What some readers of the log read; equal if they read the same.
struct Tally {
    std::int64_t events = 0;
    std::int64_t bytes = 0;

    friend bool operator==(const Tally&, const Tally&) = default;
};

/// Throws unless both are the same.
void check_same(const Tally& tally, const Tally& expected, const std::string& who);

/// Confirms what is published at once, and counts it.
class CountingBroker final : public Broker {
public:
    [[nodiscard]] BrokerFeatures features() const override;
    [[nodiscard]] std::string_view display_url() const override { return "counting"; }
    Result<std::unique_ptr<Publisher>> publisher() override;
    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override;
    Result<std::uint64_t> trim(Timestamp before) override;

    Tally tally;
};

/// Relays the log of service "iam", from its first event, until `expected` were published.
Tally drain_with_relay(Database& database, Logger& logger, std::int64_t expected);

}  // namespace instep::bench
