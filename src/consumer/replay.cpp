#include "instep/consumer/replay.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }
Timestamp time_of(std::int64_t micros) { return Timestamp{std::chrono::microseconds{micros}}; }

/// Errors: kConflict, telling what the request has to wait for.
Result<void> refuse_conflicts(Transaction& transaction, const ReplayRequest& request) {
    INSTEP_TRY_ASSIGN(const auto open,
                      transaction.query("SELECT number FROM instep_replay WHERE subscription = $1 "
                                        "AND state IN ('asked', 'running') LIMIT 1",
                                        {std::string_view(request.subscription)}));
    INSTEP_TRY_ASSIGN(const bool is_open, open->next());
    if (is_open) {
        return fail(ErrorCode::kConflict,
                    fmt::format("a replay of {} is not over yet; see `instep status`",
                                request.subscription));
    }
    INSTEP_TRY_ASSIGN(
        const auto parked,
        transaction.query("SELECT key FROM instep_parked_key WHERE subscription = $1 "
                          "AND ($2 = '' OR key = $2) LIMIT 1",
                          {std::string_view(request.subscription), std::string_view(request.key)}));
    INSTEP_TRY_ASSIGN(const bool waits, parked->next());
    if (waits) {
        return fail(ErrorCode::kConflict,
                    fmt::format("events of key {} of {} are parked, and a replay would overtake "
                                "them; retry or discard them first (`instep deadletters`)",
                                parked->text(0), request.subscription));
    }
    return {};
}

}  // namespace

Result<ReplayStart> ReplayStart::read(std::string_view kind, std::int64_t at) {
    if (kind == "beginning") {
        return beginning();
    }
    if (kind == "position") {
        return behind(static_cast<Position>(at));
    }
    if (kind == "time") {
        return since(time_of(at));
    }
    return fail(ErrorCode::kCorrupt, fmt::format("a replay cannot begin at a \"{}\"", kind));
}

bool ReplayStart::reaches(const Delivery& delivery) const {
    if (kind_ == "position") {
        return delivery.position > static_cast<Position>(at_);
    }
    return kind_ != "time" || delivery.malformed || micros(delivery.event.time) >= at_;
}

Result<Position> ReplayStart::find_in(const KeptEvents& kept, std::string_view topic) const {
    if (kind_ == "position") {
        const auto position = static_cast<Position>(at_);
        if (position < kept.before && kept.is_trimmed) {
            return fail(ErrorCode::kNotFound,
                        fmt::format("events up to position {} of topic {} are no longer kept",
                                    kept.before, topic));
        }
        if (position > std::max(kept.newest, kept.before)) {
            return fail(ErrorCode::kNotFound,
                        fmt::format("topic {} keeps no event as new as position {}; what it keeps "
                                    "stands between positions {} and {}",
                                    topic, position, kept.before, kept.newest));
        }
        return std::max(position, kept.before);
    }
    if (kind_ == "time" && kept.is_trimmed && (!kept.oldest || micros(*kept.oldest) > at_)) {
        return fail(
            ErrorCode::kNotFound,
            kept.oldest
                ? fmt::format("topic {} keeps events from {} on; older ones have been "
                              "deleted",
                              topic, format_time(*kept.oldest))
                : fmt::format("topic {} keeps no events; older ones have been deleted", topic));
    }
    return kept.before;
}

Result<void> ask_for_replay(Transaction& transaction, const ReplayRequest& request) {
    if (request.partitions.empty() ||
        (request.start.kind() == "position" && request.partitions.size() > 1)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("a replay of {} names no partition, or a position with several; a "
                                "position stands in one",
                                request.subscription));
    }
    INSTEP_TRY(refuse_conflicts(transaction, request));
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    for (const std::uint32_t partition : request.partitions) {
        INSTEP_TRY(transaction.execute(
            "INSERT INTO instep_replay (subscription, partition, start, start_at, key, who, "
            "reason, asked_us, state, moved_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'asked', "
            "$8)",
            {std::string_view(request.subscription), std::int64_t{partition}, request.start.kind(),
             request.start.at(), std::string_view(request.key), std::string_view(request.who),
             std::string_view(request.reason), micros(now)}));
    }
    return {};
}

Result<std::vector<ReplayStatus>> list_replays(Connection& connection,
                                               std::string_view subscription, std::uint32_t count) {
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query("SELECT number, subscription, partition, start, key, who, asked_us, "
                         "state, reached, until, moved_us, problem FROM instep_replay "
                         "WHERE $1 = '' OR subscription = $1 ORDER BY number DESC LIMIT $2",
                         std::initializer_list<ValueView>{subscription, std::int64_t{count}}));
    std::vector<ReplayStatus> replays;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return replays;
        }
        ReplayStatus& replay = replays.emplace_back();
        replay.number = static_cast<std::uint64_t>(rows->integer(0));
        replay.subscription = rows->text(1);
        replay.partition = static_cast<std::uint32_t>(rows->integer(2));
        replay.start = rows->text(3);
        replay.key = rows->text(4);
        replay.who = rows->text(5);
        replay.asked = time_of(rows->integer(6));
        replay.state = rows->text(7);
        replay.reached = static_cast<Position>(rows->integer(8));
        replay.until = static_cast<Position>(rows->integer(9));
        replay.moved = time_of(rows->integer(10));
        replay.problem = rows->text(11);
    }
}

/// Numbers are never given twice, so the inbox may remember them for longer.
Result<std::uint64_t> trim_replays(Transaction& transaction, Timestamp before,
                                   std::uint32_t rows_max) {
    INSTEP_TRY_ASSIGN(
        const std::int64_t trimmed,
        transaction.execute("DELETE FROM instep_replay WHERE number IN ("
                            "  SELECT number FROM instep_replay WHERE moved_us < $1 AND "
                            "  state IN ('done', 'refused') ORDER BY number LIMIT $2)",
                            {micros(before), std::int64_t{rows_max}}));
    return static_cast<std::uint64_t>(trimmed);
}

}  // namespace instep
