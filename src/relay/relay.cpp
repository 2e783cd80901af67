#include "instep/relay/relay.hpp"

#include "instep/base/fail_point.hpp"
#include "instep/lease/lease.hpp"
#include "instep/telemetry/logger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

namespace instep {

namespace {

/// The events of a batch that go to one topic, and which places of the batch they came from.
struct TopicRun {
    std::string topic;
    std::vector<Event> events;
    std::vector<std::size_t> places;
};

std::vector<TopicRun> split_by_topic(LogBatch& batch) {
    std::vector<TopicRun> runs;
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
        TopicEvent& next = batch.events[i];
        auto run = std::ranges::find(runs, next.topic, &TopicRun::topic);
        if (run == runs.end()) {
            runs.push_back(TopicRun{next.topic, {}, {}});
            run = std::prev(runs.end());
        }
        run->events.push_back(std::move(next.event));
        run->places.push_back(i);
    }
    return runs;
}

/// True if the broker holds something that this log cannot have written yet: the log is a
/// copy of an earlier state, or another database under the same name.
bool stands_behind(const LogIdentity& identity, std::uint64_t head, const LastPublished& last) {
    if (last.version.epoch != identity.epoch) {
        return last.version.epoch > identity.epoch;
    }
    return last.incarnation != identity.incarnation || last.version.batch > head;
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
          logger_(logger) {}

    ~Impl() {
        if (const auto released = lease_.release(*connection_); !released) {
            logger_.warn("relay.release_failed", {{"error", released.error().message}});
        }
    }

    Result<std::uint64_t> run_once() {
        auto confirmed = relay_one_batch();
        if (!confirmed && confirmed.error().code == ErrorCode::kFenced) {
            lease_.lose();
            reader_.reset();
        }
        return confirmed;
    }

    Result<std::uint64_t> change_token() { return connection_->change_token(); }
    [[nodiscard]] RelayStats stats() const noexcept { return stats_; }
    [[nodiscard]] bool leads() const noexcept { return lease_.held(); }

private:
    Result<std::uint64_t> relay_one_batch() {
        INSTEP_TRY_ASSIGN(const bool held, lease_.hold(*connection_));
        if (!held) {
            reader_.reset();
            return 0;
        }
        INSTEP_FAIL_POINT("relay.after_lease");
        if (reader_ == nullptr || reader_epoch_ != lease_.epoch()) {
            INSTEP_TRY(take_over());
        }
        INSTEP_TRY_ASSIGN(LogBatch batch, reader_->read(*connection_));
        INSTEP_FAIL_POINT("relay.after_read");
        std::vector<TopicRun> runs = split_by_topic(batch);
        INSTEP_TRY_ASSIGN(const bool same_epoch, prepare_topics(runs));
        if (!same_epoch) {
            INSTEP_TRY(take_over());
            return 1;
        }
        std::optional<Error> failure;
        const std::size_t confirmed = publish(runs, batch, failure);
        INSTEP_FAIL_POINT("relay.after_publish");
        INSTEP_TRY(confirm(batch, confirmed));
        INSTEP_FAIL_POINT("relay.after_confirm");
        if (failure) {
            ++stats_.publish_failures;
            return fail_in(fmt::format("relay of {}", options_.service), *failure);
        }
        return confirmed;
    }

    Result<void> take_over() {
        topics_ready_.clear();
        LogReaderOptions options;
        options.name = "relay";
        options.service = options_.service;
        options.partition = options_.partition;
        options.rows_max = options_.batch_events_max;
        INSTEP_TRY_ASSIGN(reader_, LogReader::open(*connection_, std::move(options), chunks_));
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
        INSTEP_TRY_ASSIGN(const LogIdentity identity, log_identity(*connection_));
        INSTEP_TRY_ASSIGN(auto rows, transaction.query("SELECT max(seq) FROM instep_log"));
        INSTEP_TRY(rows->next());
        const std::uint64_t head =
            std::max(static_cast<std::uint64_t>(rows->integer(0)), reader_->position());
        rows.reset();
        if (!stands_behind(identity, head, *last)) {
            return false;
        }
        INSTEP_TRY_ASSIGN(const std::uint32_t epoch, begin_epoch(transaction, last->version.epoch));
        INSTEP_TRY(tell_of_epoch(transaction));
        INSTEP_TRY(transaction.commit());
        ++stats_.epochs_begun;
        logger_.error(
            "relay.log_was_rewound",
            {{"topic", topic},
             {"log_head", static_cast<std::int64_t>(head)},
             {"broker_has", to_sequence(last->version)},
             {"new_epoch", static_cast<std::int64_t>(epoch)},
             {"advice", "the source was restored or replaced; replicas are filled again"}});
        return true;
    }

    /// Consumers learn of an epoch from an event of it, which may otherwise be long in coming.
    Result<void> tell_of_epoch(Transaction& transaction) {
        for (const std::string& topic : options_.topics) {
            NewEvent event;
            event.topic = topic;
            event.key = options_.service;
            event.type = "log.epoch_begun";
            event.data = "{}";
            INSTEP_TRY(append(transaction, std::span(&event, 1)));
        }
        return {};
    }

    std::size_t publish(const std::vector<TopicRun>& runs, const LogBatch& batch,
                        std::optional<Error>& failure) {
        std::size_t confirmed = batch.events.size();
        for (const TopicRun& run : runs) {
            PublishOutcome outcome = publisher_->publish(
                PublishBatch{run.topic, options_.partition.index, run.events, lease_.epoch()});
            for (std::size_t i = 0; i < outcome.durable; ++i) {
                (batch.seqs[run.places[i]] == 0 ? stats_.chunks_published
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
        if (batch.end == reader_->position() && batch.events.empty()) {
            return {};
        }
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        INSTEP_TRY(lease_.check(transaction));
        // The reader must not believe in a cursor that was never written.
        auto moved = reader_->confirm(transaction, batch, confirmed);
        if (moved) {
            moved = transaction.commit();
        }
        if (!moved) {
            reader_.reset();
        }
        return moved;
    }

    const RelayOptions options_;
    Lease lease_;
    std::unique_ptr<Connection> connection_;
    std::unique_ptr<Publisher> publisher_;
    const BrokerFeatures features_;
    ChunkSource* chunks_;
    Logger& logger_;
    std::unique_ptr<LogReader> reader_;
    std::uint64_t reader_epoch_ = 0;
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
    INSTEP_TRY_ASSIGN(Lease lease, Lease::create({fmt::format("relay/{}", options.partition.index),
                                                  options.owner, options.lease_duration}));
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
RelayStats Relay::stats() const noexcept { return impl_->stats(); }
bool Relay::leads() const noexcept { return impl_->leads(); }

}  // namespace instep
