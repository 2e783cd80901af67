#include "instep/direct/broker.hpp"

#include "instep/log/log.hpp"
#include "instep/log/rewind.hpp"
#include "instep/telemetry/logger.hpp"
#include "position.hpp"
#include "publisher.hpp"
#include "subscriber.hpp"
#include "topic_owner.hpp"

#include <fmt/format.h>

#include <map>
#include <mutex>

namespace instep {

namespace direct {

class DirectBroker final : public Broker {
public:
    DirectBroker(DirectOptions options, const Clock& clock, Logger& logger)
        : options_(std::move(options)), clock_(clock), logger_(logger) {}

    [[nodiscard]] BrokerFeatures features() const override {
        return {.stable_positions = true,
                .replays = true,
                .rewinds = Rewinds::kForGood,
                .delivers_ahead = false,
                .event_bytes_max = kEventDataBytesMax};
    }

    [[nodiscard]] std::string_view display_url() const override { return "direct:"; }

    Result<std::unique_ptr<Publisher>> publisher() override {
        return std::make_unique<DirectPublisher>(options_.service, options_.owners);
    }

    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override;
    Result<std::vector<KeptEvents>> kept(std::string_view topic) override;
    Result<std::uint64_t> trim(Timestamp /*before*/) override { return 0; }

private:
    Result<Connection*> control(const DirectOwner& owner);
    Result<void> lag_in(const DirectOwner& owner, std::string_view topic,
                        std::vector<SubscriptionLag>& lags);

    const DirectOptions options_;
    const Clock& clock_;
    Logger& logger_;

    std::mutex control_mutex_;
    std::map<std::string, std::unique_ptr<Connection>, std::less<>> controls_;
};

Result<std::unique_ptr<Subscriber>> DirectBroker::subscribe(SubscribeOptions options) {
    INSTEP_TRY_ASSIGN(const DirectOwner* const owner, owner_of(options_.owners, options.topic));
    INSTEP_TRY_ASSIGN(const std::string reader, reader_name({options.topic, options.subscription}));
    INSTEP_TRY_ASSIGN(Lease lease, Lease::create({reader, options.member, options.member_timeout}));
    // The cursor may fall back in a power failure: events are then delivered again.
    INSTEP_TRY_ASSIGN(auto connection,
                      owner->database->connect({.durability = Durability::kProcess}));
    if (auto known = log_identity(*connection); !known) {
        return fail_in(fmt::format("the log of {}", owner->service), std::move(known).error());
    }
    INSTEP_TRY_ASSIGN(const auto readers, list_readers(*connection, kDirectReaderPrefix));
    for (const std::string& other : readers) {
        const auto name = parse_reader_name(other);
        if (name && name->subscription == options.subscription && name->topic != options.topic) {
            return fail(ErrorCode::kConflict,
                        fmt::format("subscription {} reads topic {}, not {}; use another name",
                                    name->subscription, name->topic, options.topic));
        }
    }
    {
        LogReaderOptions cursor;
        cursor.name = reader;
        cursor.service = owner->service;
        cursor.start =
            options.start_at == StartAt::kLatest ? CursorStart::kEnd : CursorStart::kBeginning;
        // Makes the cursor; what reads with it opens another.
        INSTEP_TRY(LogReader::open(*connection, std::move(cursor), nullptr));
    }
    SubscriberParts parts{
        .options = options,
        .reader = reader,
        .owner = owner,
        .connection = std::move(connection),
        .lease = std::move(lease),
        .chunks = owner->make_chunks ? owner->make_chunks(options.subscription) : nullptr,
        .last_taken = options_.last_taken,
        .idle_poll_max = options_.idle_poll_max,
        .clock = &clock_,
        .logger = &logger_};
    return std::make_unique<DirectSubscriber>(std::move(parts));
}

Result<std::vector<SubscriptionLag>> DirectBroker::lag(std::string_view topic) {
    const std::scoped_lock lock(control_mutex_);
    std::vector<SubscriptionLag> lags;
    for (const DirectOwner& owner : options_.owners) {
        if (!topic.empty() && service_of(topic) != owner.service) {
            continue;
        }
        if (auto added = lag_in(owner, topic, lags); !added) {
            controls_.erase(owner.service);
            return fail_in(fmt::format("the log of {}", owner.service), std::move(added).error());
        }
    }
    return lags;
}

Result<void> DirectBroker::lag_in(const DirectOwner& owner, std::string_view topic,
                                  std::vector<SubscriptionLag>& lags) {
    INSTEP_TRY_ASSIGN(Connection* const connection, control(owner));
    INSTEP_TRY(log_identity(*connection));
    INSTEP_TRY_ASSIGN(const auto readers, list_readers(*connection, kDirectReaderPrefix));
    for (const std::string& reader : readers) {
        const auto name = parse_reader_name(reader);
        if (!name || (!topic.empty() && name->topic != topic)) {
            continue;
        }
        INSTEP_TRY_ASSIGN(const LogLag behind, log_lag(*connection, reader, name->topic));
        SubscriptionLag lag;
        lag.subscription = name->subscription;
        lag.topic = name->topic;
        INSTEP_TRY_ASSIGN(lag.acknowledged, acknowledged_by(*connection, reader));
        lag.newest = lag.acknowledged + behind.events;
        lag.events = behind.events;
        lag.oldest = behind.oldest;
        lags.push_back(std::move(lag));
    }
    return {};
}

Result<std::vector<KeptEvents>> DirectBroker::kept(std::string_view topic) {
    INSTEP_TRY_ASSIGN(const DirectOwner* const owner, owner_of(options_.owners, topic));
    const std::scoped_lock lock(control_mutex_);
    INSTEP_TRY_ASSIGN(Connection* const connection, control(*owner));
    auto in_log = log_kept(*connection, topic);
    if (!in_log) {
        controls_.erase(owner->service);
        return fail_in(fmt::format("the log of {}", owner->service), std::move(in_log).error());
    }
    KeptEvents kept;
    kept.before = position_of_seq(in_log->oldest ? in_log->oldest_seq - 1 : in_log->oldest_seq);
    kept.newest = position_of_seq(in_log->newest_seq);
    kept.is_trimmed = in_log->is_trimmed;
    kept.oldest = in_log->oldest;
    return std::vector{kept};
}

Result<Connection*> DirectBroker::control(const DirectOwner& owner) {
    auto& connection = controls_[owner.service];
    if (connection == nullptr) {
        INSTEP_TRY_ASSIGN(connection, owner.database->connect());
    }
    return connection.get();
}

}  // namespace direct

Result<std::unique_ptr<Broker>> open_direct_broker(DirectOptions options, const Clock& clock,
                                                   Logger& logger) {
    using namespace std::chrono_literals;
    if (options.idle_poll_max < 1ms || options.idle_poll_max > 10s) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("idle_poll_max of {} ms is not between 1 ms and 10 s",
                                options.idle_poll_max.count()));
    }
    return std::make_unique<direct::DirectBroker>(std::move(options), clock, logger);
}

}  // namespace instep
