#include "publisher.hpp"

#include "instep/broker/checks.hpp"
#include "instep/broker/event_batch.hpp"
#include "instep/broker/redis/broker.hpp"
#include "message.hpp"
#include "names.hpp"
#include "script.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <tuple>
#include <utility>
#include <vector>

namespace instep::redis {

namespace {

/// A transaction holds the server up for as long as it runs, so a batch goes in parts.
constexpr std::size_t kPartEventsMax = 500;
constexpr std::size_t kPartBytesMax = 1U << 20;

/// How often other publishers of the same source may come in between.
constexpr int kConflictsMax = 20;

std::span<const Event> first_part(std::span<const Event> events) {
    std::size_t bytes = 0;
    std::size_t count = 0;
    while (count < events.size() && count < kPartEventsMax) {
        bytes += event_bytes(events[count]);
        if (count > 0 && bytes > kPartBytesMax) {
            break;
        }
        ++count;
    }
    return events.first(count);
}

/// Sorts by epoch, as text.
std::string to_record(std::uint64_t epoch, const Event& last) {
    return fmt::format("{:020} {:016x} {}", epoch, last.incarnation, to_sequence(last.version));
}

Result<LastPublished> parse_record(std::string_view record) {
    LastPublished last;
    constexpr std::size_t kIncarnation = 21;
    constexpr std::size_t kSequence = kIncarnation + 17;
    if (record.size() > kSequence) {
        const char* digits = record.data() + kIncarnation;
        std::from_chars(digits, digits + 16, last.incarnation, 16);
        if (const auto version = parse_sequence(record.substr(kSequence))) {
            last.version = *version;
            return last;
        }
    }
    return fail(ErrorCode::kCorrupt,
                fmt::format("the record of the last publisher is \"{}\"", record));
}

}  // namespace

Result<void> RedisPublisher::declare_topic(std::string_view topic, std::uint32_t partitions) {
    if (topic.empty() || partitions == 0 || partitions > kRedisPartitionsMax) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("topic \"{}\" with {} partitions: it needs a name and 1 to {} "
                                "partitions",
                                topic, partitions, kRedisPartitionsMax));
    }
    INSTEP_TRY(check_topic_name(topic));
    INSTEP_TRY_ASSIGN(Connection * connection, link_.idle());
    const TopicKeys keys(endpoint_.prefix, topic);
    INSTEP_TRY(connection->call({"SADD", topics_key(endpoint_.prefix), topic}));
    const std::array names = {keys.topic(), keys.subscriptions(), keys.changes()};
    const std::array arguments = {std::to_string(partitions), keys.stream_prefix()};
    INSTEP_TRY_ASSIGN(const Reply existing, connection->run(declare_script(), names, arguments));
    if (existing.integer != partitions) {
        return fail(ErrorCode::kConflict,
                    fmt::format("topic {} exists with {} partitions, not {}; use another name or "
                                "the same number",
                                topic, existing.integer, partitions));
    }
    return {};
}

PublishOutcome RedisPublisher::publish(const PublishBatch& batch) {
    PublishOutcome outcome = check(batch.events);
    const auto events = batch.events.first(std::exchange(outcome.durable, 0));
    if (events.empty()) {
        return outcome;
    }
    std::size_t published = 0;
    auto done = publish_parts(batch, events, published);
    if (done) {
        done = await_replicas();
    }
    // Without the replicas nothing is durable, or all of it: it is not known which have what.
    outcome.durable = done || endpoint_.replicas == 0 ? published : 0;
    if (!done) {
        link_.drop();
        outcome.failure = fail_in(fmt::format("publish to partition {} of topic {}",
                                              batch.partition, batch.topic),
                                  std::move(done).error())
                              .error();
    }
    return outcome;
}

Result<void> RedisPublisher::publish_parts(const PublishBatch& batch, std::span<const Event> events,
                                           std::size_t& published) {
    INSTEP_TRY_ASSIGN(Connection * connection, link_.idle());
    std::span<const Event> part = first_part(events);
    write_guard(*connection, batch, part);
    INSTEP_TRY(connection->send());
    INSTEP_TRY(read_guard(*connection, batch, part));
    for (int conflicts = 0; !part.empty();) {
        const std::span<const Event> rest = events.subspan(published + part.size());
        const std::span<const Event> next = first_part(rest);
        write_part(*connection, batch, part);
        if (!next.empty()) {
            write_guard(*connection, batch, next);
        }
        const auto sent = connection->send();
        auto added = read_part(*connection, batch, part);
        // What the server said before it closed tells more than that it closed.
        if (!added && !sent && added.error().code == ErrorCode::kUnavailable) {
            return sent;
        }
        INSTEP_TRY(added);
        published += *added ? part.size() : 0;
        if (!next.empty()) {
            INSTEP_TRY(read_guard(*connection, batch, next));
        }
        if (*added) {
            part = next;
            continue;
        }
        if (++conflicts > kConflictsMax) {
            return fail(ErrorCode::kUnavailable,
                        "other publishers of the same source are there at the same time");
        }
        write_guard(*connection, batch, part);
        INSTEP_TRY(connection->send());
        INSTEP_TRY(read_guard(*connection, batch, part));
    }
    return {};
}

/// What the part's transaction depends on; it fails if that changes before it runs.
void RedisPublisher::write_guard(Connection& connection, const PublishBatch& batch,
                                 std::span<const Event> part) const {
    const TopicKeys keys(endpoint_.prefix, batch.topic);
    const auto sources = last_of_each_source(part);
    CommandWriter writer = connection.write();
    writer.begin(2 + sources.size());
    writer.argument("WATCH");
    writer.argument(keys.topic());
    for (const Event* last : sources) {
        writer.argument(keys.publisher(batch.partition, last->source));
    }
    writer.command({"HGET", keys.topic(), "partitions"});
    for (const Event* last : sources) {
        writer.command({"GET", keys.publisher(batch.partition, last->source)});
    }
}

Result<void> RedisPublisher::read_guard(Connection& connection, const PublishBatch& batch,
                                        std::span<const Event> part) const {
    INSTEP_TRY(read_good(connection));
    INSTEP_TRY_ASSIGN(const Reply partitions, read_good(connection));
    std::uint32_t count = 0;
    std::from_chars(partitions.text.data(), partitions.text.data() + partitions.text.size(), count);
    if (batch.partition >= count) {
        return fail(ErrorCode::kNotFound,
                    "the topic or the partition does not exist; declare the topic first");
    }
    const std::string epoch = fmt::format("{:020}", batch.fencing_epoch);
    for (const Event* last : last_of_each_source(part)) {
        INSTEP_TRY_ASSIGN(const Reply record, read_good(connection));
        if (record.text.substr(0, epoch.size()) > epoch) {
            return fail(ErrorCode::kFenced,
                        fmt::format("another publisher of {} has taken over since epoch {}",
                                    last->source, batch.fencing_epoch));
        }
    }
    return {};
}

void RedisPublisher::write_part(Connection& connection, const PublishBatch& batch,
                                std::span<const Event> part) {
    const TopicKeys keys(endpoint_.prefix, batch.topic);
    const std::string stream = keys.stream(batch.partition);
    CommandWriter writer = connection.write();
    writer.command({"MULTI"});
    for (const Event& event : part) {
        fields_.clear();
        CommandWriter fields(fields_);
        const std::size_t count = append_fields(event, attributes_, fields);
        writer.begin(3 + count);
        writer.argument("XADD");
        writer.argument(stream);
        writer.argument("*");
        writer.append(fields_);
    }
    for (const Event* last : last_of_each_source(part)) {
        writer.command({"SET", keys.publisher(batch.partition, last->source),
                        to_record(batch.fencing_epoch, *last)});
    }
    if (endpoint_.notifies) {
        for (const Event& event : part) {
            writer.command({"PUBLISH", stream, to_json(event)});
        }
    }
    writer.command({"EXEC"});
}

/// False if what it depends on has changed: then nothing was added.
Result<bool> RedisPublisher::read_part(Connection& connection, const PublishBatch& batch,
                                       std::span<const Event> part) {
    const std::size_t commands =
        1 + part.size() * (endpoint_.notifies ? 2 : 1) + last_of_each_source(part).size();
    for (std::size_t i = 0; i < commands; ++i) {
        INSTEP_TRY_ASSIGN(const Token queued, connection.next_token());
        if (queued.kind == Token::Kind::kError) {
            return std::unexpected(to_error(endpoint_, queued.text));
        }
    }
    INSTEP_TRY_ASSIGN(const Reply done, read_good(connection));
    if (done.is_null()) {
        return false;
    }
    for (const Reply& reply : done.items) {
        if (reply.is_error()) {
            return std::unexpected(to_error(endpoint_, reply.text));
        }
    }
    if (done.items.size() < part.size()) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: a transaction of {} commands has {} replies",
                                endpoint_.display_url, commands - 1, done.items.size()));
    }
    INSTEP_TRY(leave_room(batch, done.items[part.size() - 1].text));
    return true;
}

/// A server's clock that was set back leaves the millisecond where it is, and positions have
/// only so many numbers within one.
Result<void> RedisPublisher::leave_room(const PublishBatch& batch, std::string_view last_id) {
    const auto last = parse_entry_id(last_id);
    constexpr Position kHalf = Position{1} << (kNumberBits - 1);
    if (last && (*last & (2 * kHalf - 1)) < kHalf) {
        return {};
    }
    if (!last) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: the server gave the id {}, which no clock has made",
                                endpoint_.display_url, last_id));
    }
    // On a connection of its own: on the other one, more is under way. If somebody else was
    // faster, the server refuses.
    INSTEP_TRY_ASSIGN(const auto connection, Connection::open(endpoint_));
    const TopicKeys keys(endpoint_.prefix, batch.topic);
    const std::string next = to_entry_id(((*last >> kNumberBits) + 1) << kNumberBits);
    std::ignore = connection->call({"XSETID", keys.stream(batch.partition), next});
    return {};
}

Result<Reply> RedisPublisher::read_good(Connection& connection) const {
    INSTEP_TRY_ASSIGN(Reply reply, connection.read_reply());
    if (reply.is_error()) {
        return std::unexpected(to_error(endpoint_, reply.text));
    }
    return reply;
}

Result<void> RedisPublisher::await_replicas() {
    if (endpoint_.replicas == 0) {
        return {};
    }
    // WAIT counts what this connection has written. The server answers before this side's own
    // patience ends.
    const std::string patience = std::to_string(endpoint_.timeout.count() * 3 / 4);
    INSTEP_TRY_ASSIGN(
        const Reply have,
        link_.current()->call({"WAIT", std::to_string(endpoint_.replicas), patience}));
    if (have.integer < endpoint_.replicas) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{}: {} of {} replicas have the events; see `redis-cli INFO "
                                "replication`",
                                endpoint_.display_url, have.integer, endpoint_.replicas));
    }
    return {};
}

Result<std::optional<LastPublished>> RedisPublisher::last_published(std::string_view topic,
                                                                    std::uint32_t partition,
                                                                    std::string_view source) {
    INSTEP_TRY_ASSIGN(Connection * connection, link_.idle());
    const TopicKeys keys(endpoint_.prefix, topic);
    INSTEP_TRY_ASSIGN(const Reply record,
                      connection->call({"GET", keys.publisher(partition, source)}));
    if (record.is_null()) {
        return std::nullopt;
    }
    INSTEP_TRY_ASSIGN(const LastPublished last, parse_record(record.text));
    return last;
}

}  // namespace instep::redis
