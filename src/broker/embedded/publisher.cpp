#include "publisher.hpp"

#include "instep/broker/checks.hpp"
#include "instep/broker/embedded/broker.hpp"
#include "instep/broker/event_batch.hpp"
#include "message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace instep::embedded_broker {

namespace {

struct Reserved {
    std::int64_t slot = 0;
    std::int64_t first_row_id = 0;
};

Result<Reserved> reserve(Transaction& transaction, const PublishBatch& batch) {
    INSTEP_TRY_ASSIGN(
        auto row, transaction.query("UPDATE instep_slot SET next_offset = next_offset + $1 "
                                    "WHERE topic = $2 AND partition = $3 RETURNING id, next_offset",
                                    {static_cast<std::int64_t>(batch.events.size()), batch.topic,
                                     std::int64_t{batch.partition}}));
    INSTEP_TRY_ASSIGN(const bool found, row->next());
    if (!found) {
        return fail(ErrorCode::kNotFound,
                    "the topic or the partition does not exist; declare the topic first");
    }
    const auto next = static_cast<Position>(row->integer(1));
    return Reserved{.slot = row->integer(0),
                    .first_row_id = row_id(row->integer(0), next - batch.events.size())};
}

Result<void> record_publisher(Transaction& transaction, std::int64_t slot, std::uint64_t epoch,
                              const Event& last) {
    INSTEP_TRY_ASSIGN(
        const std::int64_t recorded,
        transaction.execute(
            "INSERT INTO instep_publisher VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT (slot, source) DO UPDATE SET epoch = excluded.epoch, "
            "incarnation = excluded.incarnation, version = excluded.version "
            "WHERE excluded.epoch >= instep_publisher.epoch",
            {slot, std::string_view(last.source), static_cast<std::int64_t>(epoch),
             static_cast<std::int64_t>(last.incarnation), BlobView{to_bytes(last.version)}}));
    if (recorded == 0) {
        return fail(ErrorCode::kFenced,
                    fmt::format("another publisher of {} has taken over since epoch {}",
                                last.source, epoch));
    }
    return {};
}

}  // namespace

Result<void> EmbeddedPublisher::declare_topic(std::string_view topic, std::uint32_t partitions) {
    if (topic.empty() || partitions == 0 || partitions > kEmbeddedPartitionsMax) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("topic \"{}\" with {} partitions: it needs a name and 1 to {} "
                                "partitions",
                                topic, partitions, kEmbeddedPartitionsMax));
    }
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*connection_, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(
        auto row, transaction.query("SELECT count(*) FROM instep_slot WHERE topic = $1", {topic}));
    INSTEP_TRY(row->next());
    const std::int64_t existing = row->integer(0);
    row.reset();
    if (existing == partitions) {
        return {};
    }
    if (existing != 0) {
        return fail(ErrorCode::kConflict,
                    fmt::format("topic {} exists with {} partitions, not {}; use another name or "
                                "the same number",
                                topic, existing, partitions));
    }
    for (std::int64_t partition = 0; partition < partitions; ++partition) {
        INSTEP_TRY(transaction.execute("INSERT INTO instep_slot (topic, partition) VALUES ($1, $2)",
                                       {topic, partition}));
    }
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_subscription_slot (slot, subscription, acknowledged) "
        "SELECT slot.id, sub.id, 0 FROM instep_slot AS slot "
        "JOIN instep_subscription AS sub ON sub.topic = slot.topic WHERE slot.topic = $1",
        {topic}));
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_subscription SET generation = generation + 1 WHERE topic = $1", {topic}));
    INSTEP_TRY(transaction.commit());
    published_.notify();
    return {};
}

PublishOutcome EmbeddedPublisher::publish(const PublishBatch& batch) {
    PublishOutcome outcome = check(batch.events);
    if (outcome.durable == 0) {
        return outcome;
    }
    PublishBatch accepted = batch;
    accepted.events = batch.events.first(outcome.durable);
    if (auto stored = store(accepted); !stored) {
        return {.durable = 0,
                .failure = fail_in(fmt::format("publish to partition {} of topic {}",
                                               batch.partition, batch.topic),
                                   std::move(stored).error())
                               .error()};
    }
    published_.notify();
    return outcome;
}

Result<void> EmbeddedPublisher::store(const PublishBatch& batch) {
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*connection_, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(const Reserved reserved, reserve(transaction, batch));
    for (const Event* last : last_of_each_source(batch.events)) {
        INSTEP_TRY(record_publisher(transaction, reserved.slot, batch.fencing_epoch, *last));
    }
    const MessageRows rows(reserved.first_row_id, clock_.now(), batch.events);
    INSTEP_TRY(transaction.execute_many(kInsertMessage, rows.parameters()));
    return transaction.commit();
}

Result<std::optional<LastPublished>> EmbeddedPublisher::last_published(std::string_view topic,
                                                                       std::uint32_t partition,
                                                                       std::string_view source) {
    INSTEP_TRY_ASSIGN(auto transaction, Transaction::begin(*connection_, TransactionMode::kRead));
    INSTEP_TRY_ASSIGN(auto row,
                      transaction.query("SELECT incarnation, version FROM instep_publisher "
                                        "JOIN instep_slot ON instep_slot.id = slot "
                                        "WHERE topic = $1 AND partition = $2 AND source = $3",
                                        {topic, std::int64_t{partition}, source}));
    INSTEP_TRY_ASSIGN(const bool found, row->next());
    if (!found) {
        return std::nullopt;
    }
    INSTEP_TRY_ASSIGN(const Version version, version_from_bytes(row->blob(1)));
    return LastPublished{.incarnation = static_cast<std::uint64_t>(row->integer(0)),
                         .version = version};
}

}  // namespace instep::embedded_broker
