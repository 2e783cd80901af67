#include "bench/postgres/log_rows.hpp"

#include "bench/bench.hpp"
#include "bench/postgres/member_table.hpp"
#include "instep/db/schema.hpp"
#include "instep/relay/relay.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::bench {

namespace {

class CountingPublisher final : public Publisher {
public:
    explicit CountingPublisher(Tally& tally) : tally_(tally) {}

    Result<void> declare_topic(std::string_view, std::uint32_t) override { return {}; }

    PublishOutcome publish(const PublishBatch& batch) override {
        for (const Event& event : batch.events) {
            ++tally_.events;
            tally_.bytes += static_cast<std::int64_t>(event.data.size());
        }
        return {batch.events.size(), std::nullopt};
    }

    Result<std::optional<LastPublished>> last_published(std::string_view, std::uint32_t,
                                                        std::string_view) override {
        return std::nullopt;
    }

private:
    Tally& tally_;
};

}  // namespace

void make_service_tables(Database& database) {
    auto connection = must(database.connect());
    must(migrate(*connection, service_migrations(connection->dialect())));
}

void append_events(Session& session, std::int64_t first, std::int64_t last, std::int64_t batch) {
    for (std::int64_t from = first; from <= last; from += batch) {
        session.run(fmt::format(
            "INSERT INTO instep.log_passing (topic, key, type, operation, schema, data) "
            "SELECT 'iam.member', id::text, 'member.updated', 1, 'iam.member/1', {} "
            "FROM (SELECT {} FROM generate_series({}, {}) AS g) AS m ({})",
            member_json(), member_values(), from, std::min(from + batch - 1, last),
            member_columns()));
    }
}

void check_same(const Tally& tally, const Tally& expected, const std::string& who) {
    if (tally != expected) {
        throw std::runtime_error(fmt::format("{} read {} events of {} bytes, not {} of {}", who,
                                             tally.events, tally.bytes, expected.events,
                                             expected.bytes));
    }
}

BrokerFeatures CountingBroker::features() const { return {.event_bytes_max = 16U * 1024 * 1024}; }

Result<std::unique_ptr<Publisher>> CountingBroker::publisher() {
    return std::make_unique<CountingPublisher>(tally);
}

Result<std::unique_ptr<Subscriber>> CountingBroker::subscribe(SubscribeOptions) {
    return fail(ErrorCode::kUnsupported, "nobody reads what the benchmark publishes");
}

Result<std::vector<SubscriptionLag>> CountingBroker::lag(std::string_view) {
    return std::vector<SubscriptionLag>();
}

Result<std::uint64_t> CountingBroker::trim(Timestamp) { return 0; }

Tally drain_with_relay(Database& database, Logger& logger, std::int64_t expected) {
    must(must(database.connect())
             ->execute_script("DELETE FROM instep.cursor; DELETE FROM instep.lease"));
    CountingBroker broker;
    RelayOptions options;
    options.service = "iam";
    options.owner = "bench";
    auto relay = must(Relay::create(database, broker, nullptr, logger, options));
    while (broker.tally.events < expected) {
        must(relay->run_once());
    }
    return broker.tally;
}

}  // namespace instep::bench
