#include "tests/simulation/planted_bugs.hpp"

#include "tests/simulation/bug_parts.hpp"
#include "tests/simulation/environment.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace instep::simulation {

namespace {

using Kind = SqlEdit::Kind;

class UnconfirmedPublisher final : public PassingPublisher {
public:
    using PassingPublisher::PassingPublisher;

    PublishOutcome publish(const PublishBatch& batch) override {
        static_cast<void>(PassingPublisher::publish(batch));
        return {.durable = batch.events.size(), .failure = std::nullopt};
    }
};

class CursorFirstPublisher final : public PassingPublisher {
public:
    CursorFirstPublisher(std::unique_ptr<Publisher> inner, Database& database)
        : PassingPublisher(std::move(inner)), database_(database) {}

    PublishOutcome publish(const PublishBatch& batch) override {
        if (auto moved = move_cursor(batch); !moved) {
            return {.durable = 0, .failure = moved.error()};
        }
        return PassingPublisher::publish(batch);
    }

private:
    Result<void> move_cursor(const PublishBatch& batch) {
        INSTEP_TRY_ASSIGN(auto connection, database_.connect());
        const auto end = static_cast<std::int64_t>(batch.events.back().version.batch);
        INSTEP_TRY(connection->execute(
            "UPDATE instep_cursor SET seq = $1 WHERE partition = $2 AND seq < $1",
            std::initializer_list<ValueView>{end, std::int64_t{batch.partition}}));
        return {};
    }

    Database& database_;
};

/// Fetches ahead and acknowledges the newest that it fetched.
class PrefetchingSubscriber final : public PassingSubscriber {
public:
    using PassingSubscriber::PassingSubscriber;

    Result<std::vector<Delivery>> receive(std::size_t events_max, std::size_t bytes_max) override {
        if (fetched_.empty()) {
            INSTEP_TRY_ASSIGN(fetched_, PassingSubscriber::receive(events_max * 2, bytes_max));
        }
        const auto half =
            fetched_.begin() + static_cast<std::ptrdiff_t>(fetched_.size() - fetched_.size() / 2);
        std::vector<Delivery> given(fetched_.begin(), half);
        fetched_.erase(fetched_.begin(), half);
        return given;
    }

    Result<void> acknowledge(std::uint32_t partition, Position position) override {
        for (const Delivery& delivery : fetched_) {
            position = delivery.partition == partition ? delivery.position : position;
        }
        return PassingSubscriber::acknowledge(partition, position);
    }

private:
    std::vector<Delivery> fetched_;
};

/// Gives out what it read a round ago as if it were read now.
class YesterdaysChunks final : public ChunkSource {
public:
    explicit YesterdaysChunks(ChunkSource& inner) : inner_(inner) {}

    Result<std::vector<TopicEvent>> read_chunks(Transaction& snapshot,
                                                const Version& as_of) override {
        INSTEP_TRY_ASSIGN(auto chunks, inner_.read_chunks(snapshot, as_of));
        std::swap(chunks, kept_);
        const bool same_scan = !chunks.empty() && !kept_.empty() &&
                               chunks.front().event.key == kept_.front().event.key;
        if (!same_scan) {
            return std::vector<TopicEvent>{};
        }
        chunks.front().event.version = as_of;
        kept_.clear();
        return chunks;
    }

    Result<void> confirm_chunks(Transaction& transaction) override {
        return inner_.confirm_chunks(transaction);
    }

private:
    ChunkSource& inner_;
    std::vector<TopicEvent> kept_;
};

/// Lets the rows of a batch pass the chunks and digests before them.
class PassingHandler final : public Handler {
public:
    explicit PassingHandler(Handler& inner) : inner_(inner) {}

    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override {
        std::vector<const Event*> order(events.begin(), events.end());
        std::ranges::stable_partition(order, [](const Event* event) {
            return event->operation != Operation::kChunk && event->operation != Operation::kDigest;
        });
        return inner_.apply(transaction, order);
    }

private:
    Handler& inner_;
};

class SwallowingHandler final : public Handler {
public:
    explicit SwallowingHandler(Handler& inner) : inner_(inner) {}

    Result<ApplyCounts> apply(Transaction& transaction,
                              std::span<const Event* const> events) override {
        auto applied = inner_.apply(transaction, events);
        if (!applied && applied.error().code == ErrorCode::kRejected) {
            return ApplyCounts{};
        }
        return applied;
    }

private:
    Handler& inner_;
};

/// What the transaction has appended so far goes to the broker at once.
void publish_uncommitted(Transaction& transaction, Publisher& publisher) {
    auto rows = transaction.query(
        "SELECT seq, key, operation, CAST(data AS BLOB) FROM instep_log ORDER BY seq DESC LIMIT 1");
    if (!rows || !*(*rows)->next()) {
        return;
    }
    Event event;
    event.id = "early";
    event.source = kOwner;
    event.type = "user.updated";
    event.version = {1, static_cast<std::uint64_t>((*rows)->integer(0)), 0};
    event.key = (*rows)->text(1);
    event.operation = static_cast<Operation>((*rows)->integer(2));
    event.data = (*rows)->blob(3);
    rows->reset();
    if (publisher.declare_topic(kTopic, 1)) {
        publisher.publish({kTopic, 0, std::span(&event, 1), 1});
    }
}

template <class Port, class Wrapper>
auto wrap() {
    return [](Port& inner) -> std::unique_ptr<Port> { return std::make_unique<Wrapper>(inner); };
}

/// More scans, and more that a replica takes in at once.
void scan_more(Options& options) {
    options.operations_every = std::chrono::milliseconds{300};
    options.transactions = 40;
    options.statements_max = 6;
    options.relay_batch_max = 100;
    options.consumer_batch_max = 100;
    options.poison = 0;
    options.group = {};
}

constexpr std::string_view kNoGuard = "= excluded.instep_version WHERE 1 OR ";

std::vector<PlantedBug> relay_bugs() {
    return {
        {.name = "cursor_before_publish",
         .meaning = "the relay's cursor moves before the broker has the events",
         .role = Role::kRelay,
         .publisher =
             [](std::unique_ptr<Publisher> inner, Database& database) {
                 return std::make_unique<CursorFirstPublisher>(std::move(inner), database);
             }},
        {.name = "confirm_not_awaited",
         .meaning = "every publish counts as confirmed",
         .role = Role::kRelay,
         .publisher =
             [](std::unique_ptr<Publisher> inner, Database&) {
                 return std::make_unique<UnconfirmedPublisher>(std::move(inner));
             }},
        {.name = "cursor_without_lease",
         .meaning = "a relay that lost its lease still moves the cursor",
         .role = Role::kRelay,
         .trusts_lease = true},
        {.name = "two_relays",
         .meaning = "every relay gets the lease",
         .role = Role::kRelay,
         .edits = {{.where = "SELECT 1 FROM instep_lease",
                    .part = "until_us > $3",
                    .replacement = "$3 < 0"},
                   {.where = "INSERT INTO instep_lease",
                    .part = "instep_lease.until_us <= $3",
                    .replacement = "$3 = $3"}},
         .trusts_lease = true},
        {.name = "publish_before_commit",
         .meaning = "events are published by the transaction that may yet roll back",
         .role = Role::kWriter,
         .before_commit = publish_uncommitted},
        {.name = "stale_chunk",
         .meaning = "a chunk is read under an older snapshot than its version says",
         .role = Role::kRelay,
         .chunks = wrap<ChunkSource, YesterdaysChunks>()},
    };
}

std::vector<PlantedBug> replica_bugs() {
    return {
        {.name = "no_version_guard",
         .meaning = "rows are written whatever is there",
         .role = Role::kReplica,
         .edits = {{.where = kGuard, .part = kGuard, .replacement = kNoGuard}}},
        {.name = "chunk_without_guard",
         .meaning = "chunks overwrite newer rows",
         .role = Role::kReplica,
         .edits =
             {{.where = kGuard, .part = kGuard, .replacement = kNoGuard, .only_chunks = true}}},
        {.name = "tombstones_not_kept",
         .meaning = "a deleted key leaves nothing behind",
         .role = Role::kReplica,
         .edits = {{.kind = Kind::kSkip, .where = "INSERT INTO instep_tombstone"}}},
        {.name = "tombstones_not_heeded",
         .meaning = "an older row brings a deleted key back",
         .role = Role::kReplica,
         .edits = {{.where = "NOT EXISTS (SELECT 1 FROM instep_tombstone",
                    .part = "instep_tombstone d WHERE ",
                    .replacement = "instep_tombstone d WHERE 0 AND "}}},
        {.name = "strays_ignore_newer_rows",
         .meaning = "a chunk removes rows that are newer than itself",
         .role = Role::kReplica,
         .edits = {{.where = "WHERE instep_version < $",
                    .part = "instep_version < $",
                    .replacement = "instep_version <> $",
                    .only_chunks = true},
                   {.where = ".instep_version < $",
                    .part = "instep_version < $",
                    .replacement = "instep_version <> $",
                    .only_chunks = true}}},
        {.name = "rows_pass_chunks",
         .meaning = "chunks and digests are no barrier: later rows are applied first",
         .role = Role::kReplica,
         .handler = wrap<Handler, PassingHandler>(),
         .setting = scan_more},
        {.name = "replica_acks_before_commit",
         .meaning = "the replica's events are acknowledged when they arrive",
         .role = Role::kReplica,
         .subscriber = wrap_subscriber<EagerSubscriber>()},
    };
}

std::vector<PlantedBug> consumer_bugs() {
    return {
        {.name = "no_inbox",
         .meaning = "events are not remembered, each delivery takes effect",
         .role = Role::kEffects,
         .edits = {{.kind = Kind::kSkip, .where = "INSERT INTO instep_inbox"}}},
        {.name = "inbox_too_short",
         .meaning = "handled events are forgotten while the broker may redeliver them",
         .role = Role::kOperator,
         .trims_too_early = true},
        {.name = "inbox_committed_first",
         .meaning = "an event counts as handled before its effect commits",
         .role = Role::kEffects,
         .edits = {{.kind = Kind::kCommitAfter, .where = "INSERT INTO instep_inbox"}}},
        {.name = "ack_before_commit",
         .meaning = "events are acknowledged when they arrive",
         .role = Role::kEffects,
         .subscriber = wrap_subscriber<EagerSubscriber>()},
        {.name = "max_ack",
         .meaning = "the newest event fetched is acknowledged, not the newest done",
         .role = Role::kEffects,
         .subscriber = wrap_subscriber<PrefetchingSubscriber>()},
        {.name = "failure_swallowed",
         .meaning = "a failing event counts as done",
         .role = Role::kEffects,
         .handler = wrap<Handler, SwallowingHandler>()},
        {.name = "parked_event_dropped",
         .meaning = "an event that is set aside is not stored",
         .role = Role::kEffects,
         .edits = {{.kind = Kind::kSkip, .where = "INSERT INTO instep_parked_event"}}},
        {.name = "parked_keys_forgotten",
         .meaning = "after a restart, events pass those that are parked",
         .role = Role::kEffects,
         .edits = {{.where = "SELECT key FROM instep_parked_key",
                    .part = "WHERE ",
                    .replacement = "WHERE 0 AND "}}},
        {.name = "consumer_without_lease",
         .meaning = "a member that lost its partition goes on writing",
         .role = Role::kEffects,
         .trusts_lease = true},
    };
}

}  // namespace

std::span<const PlantedBug> planted_bugs() {
    static const std::vector<PlantedBug> bugs = [] {
        std::vector<PlantedBug> all = relay_bugs();
        std::ranges::move(replica_bugs(), std::back_inserter(all));
        std::ranges::move(consumer_bugs(), std::back_inserter(all));
        std::ranges::move(group_bugs(), std::back_inserter(all));
        std::ranges::move(handler_bugs(), std::back_inserter(all));
        std::ranges::move(flow_bugs(), std::back_inserter(all));
        std::ranges::move(broker_bugs(), std::back_inserter(all));
        return all;
    }();
    return bugs;
}

const PlantedBug* find_planted_bug(std::string_view name) {
    const auto bugs = planted_bugs();
    const auto found = std::ranges::find(bugs, name, &PlantedBug::name);
    return found == bugs.end() ? nullptr : &*found;
}

}  // namespace instep::simulation
