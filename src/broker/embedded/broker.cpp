#include "instep/broker/embedded/broker.hpp"

#include "embedded_broker_migrations.hpp"
#include "instep/broker/checks.hpp"
#include "instep/concurrency/signal.hpp"
#include "instep/db/connection.hpp"
#include "message.hpp"
#include "publisher.hpp"
#include "subscriber.hpp"

#include <fmt/format.h>

#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace instep {

namespace embedded_broker {

namespace {

constexpr std::int64_t kTrimRowsMax = 10'000;

/// Of a connection that changes one row at a time.
constexpr std::uint32_t kSmallCacheKib = 64;

/// The last offset that every subscription has acknowledged, in terms of `slot`.
constexpr std::string_view kAcknowledgedByAll =
    "coalesce((SELECT min(acknowledged) FROM instep_subscription_slot WHERE slot = slot.id), "
    "slot.next_offset - 1)";

Result<std::vector<std::int64_t>> read_integers(Transaction& transaction, std::string_view sql,
                                                std::initializer_list<ValueView> parameters) {
    std::vector<std::int64_t> integers;
    INSTEP_TRY_ASSIGN(auto row, transaction.query(sql, parameters));
    while (true) {
        INSTEP_TRY_ASSIGN(const bool found, row->next());
        if (!found) {
            return integers;
        }
        integers.push_back(row->integer(0));
    }
}

}  // namespace

class EmbeddedBroker final : public Broker {
public:
    EmbeddedBroker(Database& database, const Clock& clock, EmbeddedOptions options,
                   std::unique_ptr<Connection> control)
        : database_(database), clock_(clock), options_(options), control_(std::move(control)) {
        const std::string_view url = database.display_url();
        display_url_ = fmt::format("embedded:{}", url.substr(url.find(':') + 1));
    }

    [[nodiscard]] BrokerFeatures features() const override {
        return {.fences_publishers = true,
                .remembers_last_version = true,
                .stable_positions = true,
                .replays = true,
                .rewinds = Rewinds::kForGood,
                .event_bytes_max = kEventDataBytesMax};
    }

    [[nodiscard]] std::string_view display_url() const override { return display_url_; }

    Result<std::unique_ptr<Publisher>> publisher() override {
        INSTEP_TRY_ASSIGN(auto connection, connect(Durability::kFull));
        return std::make_unique<EmbeddedPublisher>(std::move(connection), clock_, published_);
    }

    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override;
    Result<std::vector<KeptEvents>> kept(std::string_view topic) override;
    Result<std::uint64_t> trim(Timestamp before) override;

private:
    Result<std::unique_ptr<Connection>> connect(Durability durability) {
        return database_.connect(
            {.durability = durability, .lock_patience = options_.lock_patience});
    }

    Result<std::int64_t> ensure_subscription(const SubscribeOptions& options);
    Result<std::vector<std::int64_t>> find_trimmable(Timestamp before);
    Result<std::int64_t> trim_step(std::int64_t slot, Timestamp before);

    Database& database_;
    const Clock& clock_;
    EmbeddedOptions options_;
    std::string display_url_;
    Signal published_;

    std::mutex control_mutex_;
    std::unique_ptr<Connection> control_;
};

Result<std::unique_ptr<Subscriber>> EmbeddedBroker::subscribe(SubscribeOptions options) {
    INSTEP_TRY(check(options));
    INSTEP_TRY_ASSIGN(const std::int64_t id, ensure_subscription(options));
    INSTEP_TRY_ASSIGN(auto connection, connect(Durability::kProcess));
    INSTEP_TRY_ASSIGN(auto impatient,
                      database_.connect({.durability = Durability::kProcess,
                                         .lock_patience = std::chrono::milliseconds(0),
                                         .cache_kib = kSmallCacheKib}));
    MemberIdentity identity{.subscription = id,
                            .topic = std::move(options.topic),
                            .name = std::move(options.member),
                            .timeout = options.member_timeout};
    return std::make_unique<EmbeddedSubscriber>(std::move(connection), std::move(impatient), clock_,
                                                std::move(identity), options_.idle_poll_max,
                                                published_);
}

Result<std::int64_t> EmbeddedBroker::ensure_subscription(const SubscribeOptions& options) {
    const std::scoped_lock lock(control_mutex_);
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*control_, TransactionMode::kWrite));
    const std::string_view name = options.subscription;
    const std::string_view topic = options.topic;
    INSTEP_TRY_ASSIGN(
        auto row,
        transaction.query("SELECT id, topic FROM instep_subscription WHERE name = $1", {name}));
    INSTEP_TRY_ASSIGN(const bool exists, row->next());
    if (exists) {
        if (row->text(1) != topic) {
            return fail(ErrorCode::kConflict,
                        fmt::format("subscription {} reads topic {}, not {}; use another name",
                                    name, row->text(1), topic));
        }
        return row->integer(0);
    }
    row.reset();
    INSTEP_TRY_ASSIGN(const auto ids, read_integers(transaction,
                                                    "INSERT INTO instep_subscription (name, topic) "
                                                    "VALUES ($1, $2) RETURNING id",
                                                    {name, topic}));
    const std::string acknowledged(options.start_at == StartAt::kLatest ? "slot.next_offset - 1"
                                                                        : kBeforeKept);
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_subscription_slot (slot, subscription, acknowledged) SELECT slot.id, "
        "$1, " +
            acknowledged + " FROM instep_slot AS slot WHERE slot.topic = $2",
        {ids.front(), topic}));
    INSTEP_TRY(transaction.commit());
    return ids.front();
}

Result<std::vector<SubscriptionLag>> EmbeddedBroker::lag(std::string_view topic) {
    const std::scoped_lock lock(control_mutex_);
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*control_, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(
        auto row,
        transaction.query(
            "SELECT sub.name, sub.topic, slot.partition, share.acknowledged, "
            "slot.next_offset - 1, (SELECT time_us FROM instep_message "
            "WHERE position > (slot.id << 40) + share.acknowledged "
            "AND position < (slot.id + 1) << 40 ORDER BY position LIMIT 1) "
            "FROM instep_subscription AS sub JOIN instep_slot AS slot ON slot.topic = sub.topic "
            "JOIN instep_subscription_slot AS share "
            "ON share.slot = slot.id AND share.subscription = sub.id "
            "WHERE $1 IN ('', sub.topic) ORDER BY sub.name, slot.partition",
            {topic}));
    std::vector<SubscriptionLag> lags;
    while (true) {
        INSTEP_TRY_ASSIGN(const bool found, row->next());
        if (!found) {
            return lags;
        }
        SubscriptionLag lag{.subscription = std::string(row->text(0)),
                            .topic = std::string(row->text(1)),
                            .partition = static_cast<std::uint32_t>(row->integer(2)),
                            .acknowledged = static_cast<Position>(row->integer(3)),
                            .newest = static_cast<Position>(row->integer(4)),
                            .events = 0,
                            .oldest = std::nullopt};
        lag.events = lag.newest - lag.acknowledged;
        if (!row->is_null(5)) {
            lag.oldest = Timestamp(std::chrono::microseconds(row->integer(5)));
        }
        lags.push_back(std::move(lag));
    }
}

Result<std::vector<KeptEvents>> EmbeddedBroker::kept(std::string_view topic) {
    const std::scoped_lock lock(control_mutex_);
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*control_, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(
        auto row, transaction.query(
                      fmt::format("SELECT slot.partition, {}, slot.next_offset - 1, "
                                  "(SELECT time_us FROM instep_message WHERE position > "
                                  "slot.id << 40 AND position < (slot.id + 1) << 40 "
                                  "ORDER BY position LIMIT 1) "
                                  "FROM instep_slot AS slot WHERE topic = $1 ORDER BY partition",
                                  kBeforeKept),
                      {topic}));
    std::vector<KeptEvents> all;
    while (true) {
        INSTEP_TRY_ASSIGN(const bool found, row->next());
        if (!found) {
            return all;
        }
        KeptEvents& kept = all.emplace_back();
        kept.partition = static_cast<std::uint32_t>(row->integer(0));
        kept.before = static_cast<Position>(row->integer(1));
        kept.newest = static_cast<Position>(row->integer(2));
        kept.is_trimmed = kept.before > 0;
        if (!row->is_null(3)) {
            kept.oldest = Timestamp(std::chrono::microseconds(row->integer(3)));
        }
    }
}

Result<std::uint64_t> EmbeddedBroker::trim(Timestamp before) {
    std::int64_t deleted = 0;
    INSTEP_TRY_ASSIGN(const auto slots, find_trimmable(before));
    for (const std::int64_t slot : slots) {
        for (std::int64_t step = kTrimRowsMax; step == kTrimRowsMax; deleted += step) {
            INSTEP_TRY_ASSIGN(step, trim_step(slot, before));
        }
    }
    return static_cast<std::uint64_t>(deleted);
}

/// The slots whose first message may go, so that the others cost no write transaction.
Result<std::vector<std::int64_t>> EmbeddedBroker::find_trimmable(Timestamp before) {
    const std::scoped_lock lock(control_mutex_);
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*control_, TransactionMode::kRead));
    const std::string sql = fmt::format(
        "SELECT slot.id FROM instep_slot AS slot WHERE (SELECT published_us < $1 AND "
        "position <= (slot.id << 40) + {} FROM instep_message WHERE position > "
        "slot.id << 40 AND position < (slot.id + 1) << 40 ORDER BY position LIMIT 1)",
        kAcknowledgedByAll);
    return read_integers(transaction, sql, {before.time_since_epoch().count()});
}

Result<std::int64_t> EmbeddedBroker::trim_step(std::int64_t slot, Timestamp before) {
    const std::scoped_lock lock(control_mutex_);
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*control_, TransactionMode::kWrite));
    const std::string sql = fmt::format(
        "SELECT position, published_us FROM instep_message WHERE position > $1 AND position <= "
        "(SELECT (slot.id << 40) + {} FROM instep_slot AS slot WHERE slot.id = $2) "
        "ORDER BY position LIMIT $3",
        kAcknowledgedByAll);
    std::int64_t last = row_id(slot, 0);
    {
        INSTEP_TRY_ASSIGN(auto row, transaction.query(sql, {row_id(slot, 0), slot, kTrimRowsMax}));
        while (true) {
            INSTEP_TRY_ASSIGN(const bool found, row->next());
            if (!found || row->integer(1) >= before.time_since_epoch().count()) {
                break;
            }
            last = row->integer(0);
        }
    }
    INSTEP_TRY_ASSIGN(
        const std::int64_t deleted,
        transaction.execute("DELETE FROM instep_message WHERE position > $1 AND position <= $2",
                            {row_id(slot, 0), last}));
    INSTEP_TRY(transaction.commit());
    return deleted;
}

}  // namespace embedded_broker

Result<std::unique_ptr<Broker>> open_embedded_broker(Database& database, const Clock& clock,
                                                     EmbeddedOptions options) {
    using namespace std::chrono_literals;
    if (options.idle_poll_max < 1ms || options.idle_poll_max > 10s) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("embedded broker {}: idle_poll_max of {} ms is not between 1 ms "
                                "and 10 s",
                                database.display_url(), options.idle_poll_max.count()));
    }
    INSTEP_TRY_ASSIGN(auto control, database.connect({.lock_patience = options.lock_patience}));
    std::vector<Migration> migrations;
    for (const auto& file : embedded::embedded_broker_migrations()) {
        migrations.push_back({.number = static_cast<std::uint32_t>(migrations.size() + 1),
                              .name = file.name,
                              .sql = file.text});
    }
    if (auto migrated = migrate(*control, migrations); !migrated) {
        return fail_in(fmt::format("embedded broker {}", database.display_url()),
                       std::move(migrated).error());
    }
    return std::make_unique<embedded_broker::EmbeddedBroker>(database, clock, options,
                                                             std::move(control));
}

}  // namespace instep
