#include "instep/relay/relay.hpp"

#include "instep/base/fail_point.hpp"
#include "instep/concurrency/wake_up.hpp"
#include "instep/lease/lease.hpp"
#include "instep/log/append_watch.hpp"
#include "instep/log/boundary.hpp"
#include "instep/telemetry/logger.hpp"
#include "instruments.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace instep {

namespace {

/// After so many steps that published something there is more than appends need to tell of.
constexpr std::uint32_t kBusySteps = 2;

/// The events of a batch that go to one topic, and which places of the batch they came from.
struct TopicRun {
    std::string topic;
    std::vector<Event> events;
    std::vector<std::size_t> places;
};

TopicRun& run_of(std::vector<TopicRun>& runs, const std::string& topic, std::size_t events_left) {
    const auto run = std::ranges::find(runs, topic, &TopicRun::topic);
    if (run != runs.end()) {
        return *run;
    }
    TopicRun& added = runs.emplace_back(topic, std::vector<Event>{}, std::vector<std::size_t>{});
    added.events.reserve(events_left);
    added.places.reserve(events_left);
    return added;
}

/// The newest version that there can be below `version`.
Version before(Version version) {
    if (version.index > 0) {
        --version.index;
        return version;
    }
    return {version.epoch, version.batch - 1, kChunkIndex};
}

std::vector<TopicRun> split_by_topic(LogBatch& batch, std::string_view without) {
    std::vector<TopicRun> runs;
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
        TopicEvent& next = batch.events[i];
        if (next.topic == without) {
            continue;
        }
        TopicRun& run = run_of(runs, next.topic, batch.events.size() - i);
        run.events.push_back(std::move(next.event));
        run.places.push_back(i);
    }
    return runs;
}

}  // namespace

class Relay::Impl {
public:
    Impl(RelayOptions options, Lease lease, std::unique_ptr<Connection> connection,
         std::unique_ptr<Publisher> publisher, BrokerFeatures features, ChunkSource* chunks,
         Logger& logger)
        : options_(std::move(options)),
          lease_(std::move(lease)),
          connection_(std::move(connection)),
          publisher_(std::move(publisher)),
          features_(features),
          chunks_(chunks),
          logger_(logger),
          instruments_(options_.telemetry) {}

    ~Impl() {
        // Whoever has taken over publishes it again.
        const auto confirmed = confirm_done();
        if (!confirmed && confirmed.error().code != ErrorCode::kFenced) {
            logger_.warn("relay.confirm_failed", {{"error", confirmed.error().message}});
        }
        if (const auto released = lease_.release(*connection_); !released) {
            logger_.warn("relay.release_failed", {{"error", released.error().message}});
        }
    }

    Result<std::uint64_t> run_once() {
        auto confirmed = relay_one_batch();
        if (!confirmed) {
            forget_server();
        }
        busy_steps_ = confirmed && *confirmed > 0 ? busy_steps_ + 1 : 0;
        if (!confirmed && confirmed.error().code == ErrorCode::kFenced) {
            lease_.lose();
        }
        return confirmed;
    }

    Result<std::uint64_t> change_token() {
        auto token = connection_->change_token();
        if (!token) {
            forget_server();
        }
        return token;
    }

    bool wait(const std::stop_token& stop, std::chrono::milliseconds patience) {
        if (!options_.is_told_of_appends || !lease_.held() || holds_back()) {
            WakeUp().wait(-1, stop, patience);
            return false;
        }
        return watch_.wait(*connection_, stop, patience);
    }

    [[nodiscard]] RelayStats stats() const noexcept { return stats_; }
    [[nodiscard]] bool leads() const noexcept { return lease_.held(); }
    [[nodiscard]] bool holds_back() const noexcept {
        return chunks_ != nullptr && chunks_->holds_back();
    }

private:
    Result<std::uint64_t> relay_one_batch() {
        INSTEP_TRY_ASSIGN(const bool held, lease_.hold(*connection_));
        if (!held) {
            forget();
            INSTEP_TRY(watch_.stay_awake(*connection_));
            return 0;
        }
        INSTEP_FAIL_POINT("relay.after_lease");
        if (busy_steps_ == kBusySteps) {
            INSTEP_TRY(watch_.stay_awake(*connection_));
        }
        if (reader_ == nullptr || reader_epoch_ != lease_.epoch()) {
            INSTEP_TRY(take_over());
        }
        INSTEP_TRY_ASSIGN(LogBatch batch, next_batch());
        INSTEP_FAIL_POINT("relay.after_read");
        INSTEP_TRY_ASSIGN(TopicRun whole, gather_transactions(batch));
        std::vector<TopicRun> runs = split_by_topic(batch, whole.topic);
        if (!whole.events.empty()) {
            runs.push_back(std::move(whole));
        }
        INSTEP_TRY_ASSIGN(const bool same_epoch, prepare_topics(runs));
        if (!same_epoch) {
            INSTEP_TRY(take_over());
            return 1;
        }
        std::optional<Error> failure;
        const std::size_t confirmed = publish(runs, batch, failure);
        INSTEP_FAIL_POINT("relay.after_publish");
        if (!failure && batch.moves_cursor) {
            done_ = std::move(batch);
        }
        if (failure) {
            INSTEP_TRY(confirm(batch, confirmed));
            ++stats_.publish_failures;
            return fail_in(fmt::format("relay of {}", options_.service), *failure);
        }
        return confirmed;
    }

    /// The commit that stores the next batch moves the cursor behind the one before.
    Result<LogBatch> next_batch() {
        if (!done_) {
            return reader_->read(*connection_);
        }
        const LogBatch done = *std::exchange(done_, std::nullopt);
        auto batch = reader_->advance(*connection_, done, [this](Transaction& transaction) {
            return lease_.require(transaction);
        });
        INSTEP_FAIL_POINT("relay.after_confirm");
        return batch;
    }

    void forget() {
        done_.reset();
        reader_.reset();
    }

    /// What was seen of it, since it may have been replaced.
    void forget_server() {
        forget();
        watch_.forget();
    }

    /// What goes to the topic of whole transactions. A boundary stands there behind the last
    /// transaction that the batch ends, as long as anything stands behind the one before.
    Result<TopicRun> gather_transactions(const LogBatch& batch) {
        TopicRun run{transactions_topic(options_.service), {}, {}};
        const std::size_t boundary = batch.boundary.value_or(SIZE_MAX);
        for (std::size_t i = 0; i <= batch.events.size(); ++i) {
            if (i == boundary && is_half_told_) {
                INSTEP_TRY_ASSIGN(Event end, boundary_at(batch, i));
                run.events.push_back(std::move(end));
                run.places.push_back(i - std::min<std::size_t>(i, 1));
                is_half_told_ = false;
            }
            if (i < batch.events.size() && is_in_transactions(batch.events[i], run.topic)) {
                run.events.push_back(batch.events[i].event);
                run.places.push_back(i);
                is_half_told_ = true;
            }
        }
        if (!batch.events.empty()) {
            told_ = std::max(told_, batch.events.back().event.version);
        }
        return run;
    }

    [[nodiscard]] bool is_in_transactions(const TopicEvent& next, std::string_view topic) const {
        return next.topic == topic || (!speaks_of_range(next.event.operation) &&
                                       std::ranges::find(options_.transactions, next.topic) !=
                                           options_.transactions.end());
    }

    Result<Event> boundary_at(const LogBatch& batch, std::size_t place) {
        INSTEP_TRY_ASSIGN(const Timestamp now, connection_->now());
        if (place > 0) {
            const Event& last = batch.events[place - 1].event;
            return boundary_behind(options_.service, {last.incarnation, last.version.epoch},
                                   last.version, now);
        }
        // The log may have grown since the batch was read: that is not ended here.
        INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(*connection_));
        const Version end = batch.events.empty()
                                ? told_
                                : std::min(told_, before(batch.events.front().event.version));
        return boundary_behind(options_.service, identity, end, now);
    }

    Result<void> take_over() {
        topics_ready_.clear();
        // Whoever led before may have stopped between the events and their boundary.
        is_half_told_ = !options_.transactions.empty();
        {
            // A move between brokers may have revoked it since: before anything is published.
            INSTEP_TRY_ASSIGN(Transaction transaction,
                              Transaction::begin(*connection_, TransactionMode::kWrite));
            INSTEP_TRY(lease_.check(transaction));
        }
        LogReaderOptions options;
        options.name = kRelayReader;
        options.service = options_.service;
        options.partition = options_.partition;
        options.rows_max = options_.batch_events_max;
        options.wants_boundaries = !options_.transactions.empty();
        options.check_turn = [this](Transaction& transaction) { return lease_.check(transaction); };
        // The old one may hold what the new one needs.
        forget();
        INSTEP_TRY_ASSIGN(reader_, options_.open_reader(*connection_, std::move(options), chunks_));
        if (is_half_told_) {
            INSTEP_TRY_ASSIGN(Transaction transaction,
                              Transaction::begin(*connection_, TransactionMode::kRead));
            INSTEP_TRY_ASSIGN(told_, reader_->newest(transaction));
        }
        reader_epoch_ = lease_.epoch();
        return {};
    }

    /// Once in a reign, makes each topic known to the broker and compares what the broker last
    /// got with the log. Returns false if the log had to begin a new epoch.
    Result<bool> prepare_topics(const std::vector<TopicRun>& runs) {
        std::vector<std::string_view> topics(options_.topics.begin(), options_.topics.end());
        for (const TopicRun& run : runs) {
            topics.push_back(run.topic);
        }
        for (const std::string_view topic : topics) {
            if (topics_ready_.contains(topic)) {
                continue;
            }
            INSTEP_TRY(publisher_->declare_topic(
                topic, topic_partitions(topic, options_.partition.count)));
            if (features_.remembers_last_version) {
                INSTEP_TRY_ASSIGN(
                    const auto last,
                    publisher_->last_published(topic, options_.partition.index, options_.service));
                INSTEP_TRY_ASSIGN(const bool begun, begin_epoch_if_behind(topic, last));
                if (begun) {
                    return false;
                }
            }
            topics_ready_.emplace(topic);
        }
        return true;
    }

    Result<bool> begin_epoch_if_behind(std::string_view topic,
                                       const std::optional<LastPublished>& last) {
        if (!last) {
            return false;
        }
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        INSTEP_TRY(lease_.check(transaction));
        INSTEP_TRY_ASSIGN(const Version newest, reader_->newest(transaction));
        INSTEP_TRY_ASSIGN(const auto epoch,
                          surpass(transaction, *reader_, options_.service,
                                  {last->incarnation, last->version}, options_.topics));
        if (!epoch) {
            return false;
        }
        INSTEP_TRY(transaction.commit());
        ++stats_.epochs_begun;
        logger_.error(
            "relay.log_was_rewound",
            {{"topic", topic},
             {"log_has", to_sequence(newest)},
             {"broker_has", to_sequence(last->version)},
             {"new_epoch", static_cast<std::int64_t>(*epoch)},
             {"advice", "the source was restored or replaced; replicas are filled again"}});
        return true;
    }

    std::size_t publish(const std::vector<TopicRun>& runs, const LogBatch& batch,
                        std::optional<Error>& failure) {
        std::size_t confirmed = batch.events.size();
        for (const TopicRun& run : runs) {
            const PublishBatch part{run.topic, options_.partition.index, run.events,
                                    lease_.epoch()};
            const Timestamp began = instruments_.now();
            PublishOutcome outcome = publisher_->publish(part);
            instruments_.published(part, outcome, began);
            for (std::size_t i = 0; i < outcome.durable; ++i) {
                (speaks_of_range(run.events[i].operation) ? stats_.chunks_published
                                                          : stats_.events_published)++;
            }
            if (outcome.durable < run.events.size()) {
                confirmed = std::min(confirmed, run.places[outcome.durable]);
                failure = outcome.failure;
            }
        }
        return confirmed;
    }

    Result<void> confirm(const LogBatch& batch, std::size_t confirmed) {
        if (!batch.moves_cursor) {
            return {};
        }
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        INSTEP_TRY(lease_.require(transaction));
        INSTEP_TRY(reader_->confirm(transaction, batch, confirmed));
        return transaction.commit();
    }

    Result<void> confirm_done() {
        if (!done_) {
            return {};
        }
        const LogBatch done = *std::exchange(done_, std::nullopt);
        return confirm(done, done.events.size());
    }

    const RelayOptions options_;
    Lease lease_;
    std::unique_ptr<Connection> connection_;
    std::unique_ptr<Publisher> publisher_;
    const BrokerFeatures features_;
    ChunkSource* chunks_;
    Logger& logger_;
    RelayInstruments instruments_;

    /// Null after any error: it must not believe in a cursor that was never written, nor in
    /// what it saw of a server that has been replaced since.
    std::unique_ptr<LogReader> reader_;
    std::uint64_t reader_epoch_ = 0;

    /// Published for good; the cursor has yet to be moved behind it.
    std::optional<LogBatch> done_;

    AppendWatch watch_;

    /// How many steps have published something, one after the other.
    std::uint32_t busy_steps_ = 0;

    /// The topic of whole transactions may end in the middle of one.
    bool is_half_told_ = false;

    /// Nothing newer stands there, before what is read next.
    Version told_;
    std::set<std::string, std::less<>> topics_ready_;
    RelayStats stats_;
};

Relay::Relay(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Relay::~Relay() = default;

Result<std::unique_ptr<Relay>> Relay::create(Database& database, Broker& broker,
                                             ChunkSource* chunks, Logger& logger,
                                             RelayOptions options) {
    if (options.service.empty() || options.batch_events_max < 1 ||
        options.batch_events_max > 100'000 || options.partition.index >= options.partition.count) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("relay of \"{}\": {} events a batch or partition {} of {} is out of "
                        "bounds",
                        options.service, options.batch_events_max, options.partition.index,
                        options.partition.count));
    }
    if (!options.transactions.empty() && options.partition.count != 1) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("relay of \"{}\": whole transactions need one partition, not {}",
                                options.service, options.partition.count));
    }
    INSTEP_TRY_ASSIGN(
        Lease lease, Lease::create({fmt::format("relay/{}", options.partition.index), options.owner,
                                    options.lease_duration, options.condition}));
    // The cursor may fall back in a power failure: events are then published again.
    ConnectOptions connect;
    connect.durability = Durability::kProcess;
    INSTEP_TRY_ASSIGN(auto connection, database.connect(connect));
    INSTEP_TRY(log_identity(*connection));
    INSTEP_TRY_ASSIGN(auto publisher, broker.publisher());
    return std::unique_ptr<Relay>(new Relay(
        std::make_unique<Impl>(std::move(options), std::move(lease), std::move(connection),
                               std::move(publisher), broker.features(), chunks, logger)));
}

Result<std::uint64_t> Relay::run_once() { return impl_->run_once(); }
Result<std::uint64_t> Relay::change_token() { return impl_->change_token(); }
bool Relay::wait(const std::stop_token& stop, std::chrono::milliseconds patience) {
    return impl_->wait(stop, patience);
}
RelayStats Relay::stats() const noexcept { return impl_->stats(); }
bool Relay::holds_back() const noexcept { return impl_->holds_back(); }
bool Relay::leads() const noexcept { return impl_->leads(); }

}  // namespace instep
