#include "instep/broker/redis/broker.hpp"

#include "connection.hpp"
#include "endpoint.hpp"
#include "examine.hpp"
#include "instep/broker/checks.hpp"
#include "names.hpp"
#include "publisher.hpp"
#include "script.hpp"
#include "subscriber.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace instep {

namespace redis {

namespace {

constexpr std::size_t kLagValues = 7;
constexpr std::size_t kKeptValues = 5;
constexpr std::string_view kTrimEntriesMax = "10000";

std::uint64_t to_number(std::string_view text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

/// When an event was appended: what it says itself, or else when the server got it.
Timestamp appended(std::string_view id, std::string_view time) {
    if (const auto parsed = parse_time(time)) {
        return *parsed;
    }
    return Timestamp(std::chrono::milliseconds(to_number(id.substr(0, id.find('-')))));
}

}  // namespace

class RedisBroker final : public Broker {
public:
    RedisBroker(Endpoint endpoint, const Clock& clock, Random& random)
        : endpoint_(std::move(endpoint)),
          clock_(clock),
          random_(random),
          control_(endpoint_, clock, random) {}

    /// Errors: those of Connection::open() that waiting does not mend.
    Result<void> connect() {
        const std::scoped_lock lock(mutex_);
        const auto connected = control_.idle();
        if (!connected && connected.error().code != ErrorCode::kUnavailable) {
            return std::unexpected(connected.error());
        }
        return {};
    }

    [[nodiscard]] BrokerFeatures features() const override {
        return {.fences_publishers = true,
                .remembers_last_version = true,
                .stable_positions = true,
                .replays = true,
                .rewinds = Rewinds::kForGood,
                .event_bytes_max = kEventDataBytesMax};
    }

    [[nodiscard]] std::string_view display_url() const override { return endpoint_.display_url; }

    Result<std::unique_ptr<Publisher>> publisher() override {
        return std::make_unique<RedisPublisher>(endpoint_, clock_, random_);
    }

    Result<std::unique_ptr<Subscriber>> subscribe(SubscribeOptions options) override;
    Result<std::vector<SubscriptionLag>> lag(std::string_view topic) override;
    Result<std::vector<KeptEvents>> kept(std::string_view topic) override;
    Result<std::uint64_t> trim(Timestamp before) override;

    Result<std::vector<BrokerFinding>> examine() override {
        const std::scoped_lock lock(mutex_);
        INSTEP_TRY_ASSIGN(Connection * connection, control_.idle());
        return redis::examine(*connection, endpoint_);
    }

private:
    Result<void> ensure_subscription(const SubscribeOptions& options);
    Result<std::vector<std::string>> topics();
    Result<void> add_lag(std::string_view topic, std::vector<SubscriptionLag>& lags);
    Result<std::uint64_t> trim_topic(std::string_view topic, std::string_view before);

    const Endpoint endpoint_;
    const Clock& clock_;
    Random& random_;

    std::mutex mutex_;
    Link control_;
};

Result<std::unique_ptr<Subscriber>> RedisBroker::subscribe(SubscribeOptions options) {
    INSTEP_TRY(check(options));
    INSTEP_TRY(check_topic_name(options.topic));
    if (auto ensured = ensure_subscription(options); !ensured) {
        return fail_in(fmt::format("subscription {}", options.subscription),
                       std::move(ensured).error());
    }
    MemberIdentity identity{.subscription = std::move(options.subscription),
                            .topic = std::move(options.topic),
                            .name = std::move(options.member),
                            .timeout = options.member_timeout};
    return std::make_unique<RedisSubscriber>(endpoint_, clock_, random_, std::move(identity));
}

Result<void> RedisBroker::ensure_subscription(const SubscribeOptions& options) {
    const std::scoped_lock lock(mutex_);
    INSTEP_TRY_ASSIGN(Connection * connection, control_.idle());
    const std::string all = subscriptions_key(endpoint_.prefix);
    INSTEP_TRY(connection->call({"HSETNX", all, options.subscription, options.topic}));
    INSTEP_TRY_ASSIGN(const Reply topic, connection->call({"HGET", all, options.subscription}));
    if (topic.text != options.topic) {
        return fail(ErrorCode::kConflict, fmt::format("it reads topic {}, not {}; use another name",
                                                      topic.text, options.topic));
    }
    const TopicKeys keys(endpoint_.prefix, options.topic);
    const std::array names = {keys.topic(), keys.subscriptions()};
    const std::array arguments = {options.subscription,
                                  std::string(options.start_at == StartAt::kLatest ? "$" : "0"),
                                  keys.stream_prefix()};
    INSTEP_TRY(connection->run(subscribe_script(), names, arguments));
    return {};
}

Result<std::vector<std::string>> RedisBroker::topics() {
    INSTEP_TRY_ASSIGN(Connection * connection, control_.idle());
    INSTEP_TRY_ASSIGN(const Reply known,
                      connection->call({"SMEMBERS", topics_key(endpoint_.prefix)}));
    std::vector<std::string> topics;
    for (const Reply& topic : known.items) {
        topics.push_back(topic.text);
    }
    return topics;
}

Result<std::vector<SubscriptionLag>> RedisBroker::lag(std::string_view topic) {
    const std::scoped_lock lock(mutex_);
    std::vector<SubscriptionLag> lags;
    if (!topic.empty()) {
        INSTEP_TRY(add_lag(topic, lags));
        return lags;
    }
    INSTEP_TRY_ASSIGN(const auto all, topics());
    for (const std::string& each : all) {
        INSTEP_TRY(add_lag(each, lags));
    }
    return lags;
}

Result<void> RedisBroker::add_lag(std::string_view topic, std::vector<SubscriptionLag>& lags) {
    INSTEP_TRY_ASSIGN(Connection * connection, control_.idle());
    const TopicKeys keys(endpoint_.prefix, topic);
    const std::array names = {keys.topic(), keys.subscriptions()};
    const std::array arguments = {keys.stream_prefix()};
    INSTEP_TRY_ASSIGN(const Reply reply, connection->run(lag_script(), names, arguments));
    for (std::size_t i = 0; i + kLagValues <= reply.items.size(); i += kLagValues) {
        const auto value = [&](std::size_t n) -> std::string_view {
            return reply.items[i + n].text;
        };
        SubscriptionLag lag{.subscription = std::string(value(0)),
                            .topic = std::string(topic),
                            .partition = static_cast<std::uint32_t>(to_number(value(1))),
                            .acknowledged = parse_entry_id(value(2)).value_or(0),
                            .newest = parse_entry_id(value(3)).value_or(0),
                            .events = to_number(value(4)),
                            .oldest = std::nullopt};
        if (!value(5).empty()) {
            lag.oldest = appended(value(5), value(6));
        }
        lags.push_back(std::move(lag));
    }
    return {};
}

Result<std::vector<KeptEvents>> RedisBroker::kept(std::string_view topic) {
    const std::scoped_lock lock(mutex_);
    INSTEP_TRY_ASSIGN(Connection * connection, control_.idle());
    const TopicKeys keys(endpoint_.prefix, topic);
    const std::array names = {keys.topic()};
    const std::array arguments = {keys.stream_prefix()};
    INSTEP_TRY_ASSIGN(const Reply reply, connection->run(kept_script(), names, arguments));
    std::vector<KeptEvents> all;
    for (std::size_t i = 0; i + kKeptValues <= reply.items.size(); i += kKeptValues) {
        const auto value = [&](std::size_t n) -> std::string_view {
            return reply.items[i + n].text;
        };
        KeptEvents& kept = all.emplace_back();
        kept.partition = static_cast<std::uint32_t>(all.size() - 1);
        kept.is_trimmed = value(0) != "0";
        kept.newest = parse_entry_id(value(4)).value_or(0);
        if (value(1) == "1") {
            kept.before = kept.is_trimmed ? kept.newest : 0;
            continue;
        }
        const Position first = parse_entry_id(value(2)).value_or(0);
        kept.before = kept.is_trimmed && first > 0 ? first - 1 : 0;
        kept.oldest = appended(value(2), value(3));
    }
    return all;
}

Result<std::uint64_t> RedisBroker::trim(Timestamp before) {
    const std::scoped_lock lock(mutex_);
    const auto milliseconds =
        std::chrono::floor<std::chrono::milliseconds>(before).time_since_epoch().count();
    const std::string limit = std::to_string(std::max<std::int64_t>(milliseconds, 0));
    std::uint64_t deleted = 0;
    INSTEP_TRY_ASSIGN(const auto all, topics());
    for (const std::string& topic : all) {
        INSTEP_TRY_ASSIGN(const std::uint64_t of_topic, trim_topic(topic, limit));
        deleted += of_topic;
    }
    return deleted;
}

Result<std::uint64_t> RedisBroker::trim_topic(std::string_view topic, std::string_view before) {
    INSTEP_TRY_ASSIGN(Connection * connection, control_.idle());
    const TopicKeys keys(endpoint_.prefix, topic);
    INSTEP_TRY_ASSIGN(const Reply count, connection->call({"HGET", keys.topic(), "partitions"}));
    const auto partitions = static_cast<std::uint32_t>(to_number(count.text));
    std::uint64_t deleted = 0;
    for (std::uint32_t partition = 0; partition < partitions; ++partition) {
        const std::array names = {keys.stream(partition), keys.subscriptions()};
        const std::array arguments = {std::string(before), std::string(kTrimEntriesMax)};
        std::int64_t step = 0;
        do {
            INSTEP_TRY_ASSIGN(const Reply trimmed,
                              connection->run(trim_script(), names, arguments));
            step = trimmed.integer;
            deleted += static_cast<std::uint64_t>(step);
        } while (step > 0);
    }
    return deleted;
}

}  // namespace redis

Result<std::unique_ptr<Broker>> open_redis_broker(std::string_view url, const Clock& clock,
                                                  Random& random) {
    INSTEP_TRY_ASSIGN(auto endpoint, redis::parse_endpoint(url));
    auto broker = std::make_unique<redis::RedisBroker>(std::move(endpoint), clock, random);
    INSTEP_TRY(broker->connect());
    return broker;
}

}  // namespace instep
