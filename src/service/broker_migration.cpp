#include "broker_homes.hpp"
#include "direct.hpp"
#include "instep/base/fail_point.hpp"
#include "instep/service/broker_move.hpp"
#include "instep/telemetry/redact.hpp"
#include "subscriptions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace instep {

namespace {

/// True if what a URL hides is nothing but names of variables.
bool has_no_secret(std::string_view url) {
    const std::string shown = redact_url(url);
    const std::size_t hidden = shown.find("***");
    if (hidden == std::string::npos) {
        return true;
    }
    const std::size_t behind = shown.size() - hidden - 3;
    const std::string_view secret =
        url.substr(hidden, url.size() - std::min(url.size(), hidden + behind));
    return secret.starts_with("${") && secret.ends_with('}') &&
           secret.find('}') + 1 == secret.size();
}

/// A service with its database open.
struct Traveller {
    const ServiceConfig* config;
    std::unique_ptr<Database> database;
    std::unique_ptr<Connection> connection;

    /// Nothing before its move has begun.
    std::optional<MoveStage> stage;
};

/// A subscription of one of the services.
struct OwnSubscription {
    std::string name;
    std::string topic;
};

/// The service whose events a topic holds.
std::string_view owner_of(std::string_view topic) { return topic.substr(0, topic.find('.')); }

class BrokerMigration {
public:
    BrokerMigration(std::span<const ServiceConfig> services, std::string new_broker,
                    const Clock& clock, Brokers& brokers)
        : services_(services),
          new_broker_(std::move(new_broker)),
          clock_(clock),
          brokers_(brokers) {}

    Result<MigrationStatus> advance() {
        INSTEP_TRY(check());
        INSTEP_TRY(open());
        if (least() == std::nullopt) {
            INSTEP_TRY(prepare());
        }
        if (least() == MoveStage::kPrepared) {
            for (Traveller& traveller : travellers_) {
                INSTEP_TRY(go(traveller, MoveStage::kPrepared, MoveStage::kPublishing));
                INSTEP_FAIL_POINT("move.after_publishing");
            }
        }
        MigrationStatus status;
        if (least() == MoveStage::kPublishing) {
            INSTEP_TRY_ASSIGN(status.waiting_for, drain());
        }
        status.stage = *least();
        return status;
    }

private:
    Result<void> check() {
        if (services_.empty() || is_direct(new_broker_)) {
            return fail(ErrorCode::kInvalidArgument,
                        "give the service files, and with --to the URL of a broker; to go on "
                        "without one, write broker = \"direct:\" into all files and restart the "
                        "services: replicas are filled again");
        }
        if (!has_no_secret(new_broker_)) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("{} holds a secret, which would be stored; write ${{NAME}} in "
                                    "its place, a variable that the services have",
                                    redact_url(new_broker_)));
        }
        INSTEP_TRY_ASSIGN(new_url_, resolve_url(new_broker_, process_environment()));
        old_url_ = services_.front().broker;
        for (const ServiceConfig& service : services_) {
            if (is_direct(service.broker)) {
                return fail(ErrorCode::kConfigInvalid,
                            fmt::format("service {} has no broker to be moved from; write the new "
                                        "one into all files and restart the services: replicas "
                                        "are filled again",
                                        service.name));
            }
            if (service.broker != old_url_) {
                return fail(ErrorCode::kConfigInvalid,
                            fmt::format("{} and {} name different brokers; services that go "
                                        "together start from the same one",
                                        services_.front().path, service.path));
            }
        }
        if (new_url_ == old_url_) {
            return fail(ErrorCode::kInvalidArgument,
                        fmt::format("the services use {} already", redact_url(new_url_)));
        }
        return check_owners();
    }

    [[nodiscard]] bool is_given(std::string_view service) const {
        return std::ranges::find(services_, service, &ServiceConfig::name) != services_.end();
    }

    Result<void> check_owners() const {
        for (const ServiceConfig& service : services_) {
            for (const OwnSubscription& own : subscriptions(service)) {
                const std::string_view owner = owner_of(own.topic);
                if (!is_given(owner)) {
                    return fail(ErrorCode::kConflict,
                                fmt::format("service {} follows {}, and would hear of it no more; "
                                            "give the file of service {} too",
                                            service.name, own.topic, owner));
                }
            }
        }
        return {};
    }

    Result<void> open() {
        INSTEP_TRY_ASSIGN(old_, brokers_.open(old_url_));
        INSTEP_TRY_ASSIGN(new_, brokers_.open(new_url_));
        for (const ServiceConfig& service : services_) {
            Traveller traveller{&service, nullptr, nullptr, std::nullopt};
            INSTEP_TRY_ASSIGN(traveller.database, open_database(service.database, clock_));
            INSTEP_TRY_ASSIGN(traveller.connection, traveller.database->connect());
            INSTEP_TRY_ASSIGN(const auto move, move_that_counts(*traveller.connection, service));
            if (move && move->new_broker != new_broker_) {
                return fail(
                    ErrorCode::kConflict,
                    fmt::format("service {} {} to {}; {}", service.name,
                                move->stage == MoveStage::kMoved ? "was moved" : "is on its way",
                                redact_url(move->new_broker),
                                move->stage == MoveStage::kMoved
                                    ? fmt::format("name that broker in {} first", service.path)
                                    : "end that move first"));
            }
            if (move) {
                traveller.stage = move->stage;
            }
            travellers_.push_back(std::move(traveller));
        }
        return {};
    }

    /// How far the last of them is. std::optional orders "not yet" first.
    [[nodiscard]] std::optional<MoveStage> least() const {
        return std::ranges::min_element(travellers_, {}, &Traveller::stage)->stage;
    }

    [[nodiscard]] static std::vector<OwnSubscription> subscriptions(const ServiceConfig& service) {
        std::vector<OwnSubscription> all;
        if (!service.publish.empty()) {
            all.push_back({request_topic(service), request_topic(service)});
        }
        for (const ReplicaDefinition& replica : service.replicas) {
            all.push_back({replica.subscription(), replica.source_topic()});
        }
        for (const SubscriptionEntry& entry : service.subscriptions) {
            all.push_back({fmt::format("{}.{}", service.name, entry.name), entry.topic});
        }
        return all;
    }

    /// What is published to the new broker must be kept there for everybody.
    Result<void> prepare() {
        INSTEP_TRY(check_nobody_is_left());
        INSTEP_TRY_ASSIGN(const auto publisher, new_->publisher());
        for (const ServiceConfig& service : services_) {
            for (const std::string& topic : published_topics(service)) {
                INSTEP_TRY(publisher->declare_topic(topic, service.partitions));
            }
            if (!service.publish.empty()) {
                INSTEP_TRY(publisher->declare_topic(request_topic(service), 1));
            }
        }
        for (const ServiceConfig& service : services_) {
            for (const OwnSubscription& own : subscriptions(service)) {
                SubscribeOptions options;
                options.subscription = own.name;
                options.topic = own.topic;
                options.member = "migrate-broker";
                options.start_at = StartAt::kLatest;
                INSTEP_TRY(new_->subscribe(std::move(options)));
            }
        }
        INSTEP_FAIL_POINT("move.after_subscribe");
        for (Traveller& traveller : travellers_) {
            if (traveller.stage) {
                continue;
            }
            INSTEP_TRY_ASSIGN(Transaction transaction,
                              Transaction::begin(*traveller.connection, TransactionMode::kWrite));
            INSTEP_TRY(
                begin_move(transaction, {redact_url(old_url_), new_broker_, MoveStage::kPrepared}));
            INSTEP_TRY(transaction.commit());
            traveller.stage = MoveStage::kPrepared;
            INSTEP_FAIL_POINT("move.after_prepare");
        }
        return {};
    }

    Result<void> check_nobody_is_left() const {
        INSTEP_TRY_ASSIGN(const auto lags, old_->lag(""));
        for (const SubscriptionLag& lag : lags) {
            const bool is_read = std::ranges::any_of(services_, [&](const ServiceConfig& service) {
                return is_own_subscription(service, lag);
            });
            if (!is_read && is_given(owner_of(lag.topic))) {
                return fail(ErrorCode::kConflict,
                            fmt::format("subscription {} of {} belongs to a service that was not "
                                        "given, and would get no more events; give its file too",
                                        lag.subscription, lag.topic));
            }
        }
        return {};
    }

    static Result<void> go(Traveller& traveller, MoveStage from, MoveStage to) {
        if (traveller.stage != from) {
            return {};
        }
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*traveller.connection, TransactionMode::kWrite));
        INSTEP_TRY(set_stage(transaction, from, to));
        INSTEP_TRY(transaction.commit());
        traveller.stage = to;
        return {};
    }

    /// Nobody publishes to the old broker any more, but for repeats of what also goes to the new
    /// one. Returns what is left there.
    Result<std::string> drain() {
        INSTEP_TRY_ASSIGN(const auto left, old_->lag(""));
        // A broker that asks the members for what they hold may miss what goes from one to another
        // meanwhile; not twice.
        INSTEP_TRY_ASSIGN(const auto still_left, old_->lag(""));
        INSTEP_TRY_ASSIGN(const auto begin, new_->lag(""));
        std::string waiting_for;
        for (Traveller& traveller : travellers_) {
            if (traveller.stage != MoveStage::kPublishing) {
                continue;
            }
            std::string own = left_for(*traveller.config, left);
            if (own.empty()) {
                own = left_for(*traveller.config, still_left);
            }
            if (own.empty()) {
                INSTEP_TRY(settle_in(traveller, begin));
                INSTEP_FAIL_POINT("move.after_moved");
            } else {
                waiting_for += (waiting_for.empty() ? "" : "; ") + own;
            }
        }
        return waiting_for;
    }

    static std::string left_for(const ServiceConfig& service,
                                std::span<const SubscriptionLag> lags) {
        std::string left;
        for (const SubscriptionLag& lag : lags) {
            if (lag.events > 0 && is_own_subscription(service, lag)) {
                left += fmt::format("{}{} of {} are left for {}", left.empty() ? "" : "; ",
                                    lag.events, lag.topic, lag.subscription);
            }
        }
        return left;
    }

    /// Positions of the old broker mean nothing on the new one.
    static Result<void> settle_in(Traveller& traveller, std::span<const SubscriptionLag> begin) {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*traveller.connection, TransactionMode::kWrite));
        INSTEP_TRY(set_stage(transaction, MoveStage::kPublishing, MoveStage::kMoved));
        for (const SubscriptionLag& lag : begin) {
            if (is_own_subscription(*traveller.config, lag)) {
                INSTEP_TRY(transaction.execute(
                    "UPDATE instep_progress SET position = $1 WHERE subscription = $2 AND "
                    "partition = $3",
                    {static_cast<std::int64_t>(lag.acknowledged),
                     std::string_view(lag.subscription), std::int64_t{lag.partition}}));
            }
        }
        INSTEP_TRY(transaction.commit());
        traveller.stage = MoveStage::kMoved;
        return {};
    }

    const std::span<const ServiceConfig> services_;
    const std::string new_broker_;
    const Clock& clock_;
    Brokers& brokers_;
    std::string old_url_;
    std::string new_url_;
    Broker* old_ = nullptr;
    Broker* new_ = nullptr;
    std::vector<Traveller> travellers_;
};

}  // namespace

Result<MigrationStatus> advance_broker_migration(std::span<const ServiceConfig> services,
                                                 const std::string& new_broker, const Clock& clock,
                                                 Brokers& brokers) {
    return BrokerMigration(services, new_broker, clock, brokers).advance();
}

}  // namespace instep
