#include "append.hpp"

#include "instep/base/fail_point.hpp"
#include "instep/db/dialect.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace instep {

namespace {

Result<void> check(const NewEvent& event) {
    Event envelope;
    envelope.id = event.id.empty() ? "-" : event.id;
    envelope.source = "-";
    envelope.type = event.type;
    envelope.key = event.key;
    envelope.stream = event.stream;
    envelope.content_type = event.content_type;
    envelope.schema = event.schema;
    envelope.correlation_id = event.correlation_id;
    envelope.causation_id = event.causation_id;
    envelope.trace_parent = event.trace_parent;
    INSTEP_TRY(validate(envelope));
    if (event.topic.empty() || event.topic.size() > kEventAttributeBytesMax) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("event {} has no topic, or one that is too long; name it as "
                                "service.entity",
                                event.type));
    }
    if (event.data.size() > kEventDataBytesMax) {
        return fail(
            ErrorCode::kLimitExceeded,
            fmt::format("event {} of key {} has {} bytes of data, more than the {} allowed; "
                        "store the payload elsewhere and send a reference",
                        event.type, event.key, event.data.size(), kEventDataBytesMax));
    }
    return {};
}

Result<std::uint64_t> newest_version(Transaction& transaction, std::string_view stream) {
    INSTEP_TRY_ASSIGN(
        auto rows, transaction.query("SELECT max(stream_version) FROM instep_log WHERE stream = $1",
                                     {stream}));
    INSTEP_TRY(rows->next());
    return static_cast<std::uint64_t>(rows->integer(0));
}

/// The versions of the streams that one append touches.
using StreamVersions = std::map<std::string, std::uint64_t, std::less<>>;

Result<StreamVersions> read_versions(Transaction& transaction, std::span<const NewEvent> events,
                                     ExpectedVersion expected) {
    StreamVersions versions;
    for (const NewEvent& event : events) {
        if (!event.stream.empty() && !versions.contains(event.stream)) {
            INSTEP_TRY_ASSIGN(versions[event.stream], newest_version(transaction, event.stream));
        }
    }
    if (!expected.value()) {
        return versions;
    }
    INSTEP_TRY(check_one_stream(events));
    return versions;
}

Result<std::optional<Appended>> find_by_id(Transaction& transaction, std::string_view id) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query("SELECT seq, stream_version FROM instep_log WHERE id = $1", {id}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return std::nullopt;
    }
    return Appended{static_cast<std::uint64_t>(rows->integer(0)),
                    static_cast<std::uint64_t>(rows->integer(1)), true};
}

ValueView or_null(std::string_view text) {
    return text.empty() ? ValueView{kNull} : ValueView{text};
}

Result<std::uint64_t> insert(Transaction& transaction, const NewEvent& event,
                             std::uint64_t stream_version, Timestamp now) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query(
            "INSERT INTO instep_log (topic, key, type, operation, time_us, id, stream, "
            "stream_version, content_type, schema, correlation_id, causation_id, trace_parent, "
            "data) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING seq",
            {std::string_view(event.topic), std::string_view(event.key),
             std::string_view(event.type), static_cast<std::int64_t>(event.operation),
             static_cast<std::int64_t>(now.time_since_epoch().count()), or_null(event.id),
             or_null(event.stream),
             event.stream.empty() ? ValueView{kNull}
                                  : ValueView{static_cast<std::int64_t>(stream_version)},
             event.content_type == "application/json"
                 ? ValueView{kNull}
                 : ValueView{std::string_view(event.content_type)},
             or_null(event.schema), or_null(event.correlation_id), or_null(event.causation_id),
             or_null(event.trace_parent), BlobView{event.data}}));
    INSTEP_TRY(rows->next());
    return static_cast<std::uint64_t>(rows->integer(0));
}

}  // namespace

std::unexpected<Error> stream_has_moved(std::string_view stream, std::uint64_t version,
                                        std::uint64_t expected) {
    return fail(ErrorCode::kConflict,
                fmt::format("stream {} is at version {}, not {}; read it again and decide again",
                            stream, version, expected));
}

Result<void> check_one_stream(std::span<const NewEvent> events) {
    const auto of_first = [&](const NewEvent& event) {
        return event.stream == events.front().stream;
    };
    if (events.empty() || events.front().stream.empty() || !std::ranges::all_of(events, of_first)) {
        return fail(ErrorCode::kInvalidArgument,
                    "an expected version goes with events of exactly one stream");
    }
    return {};
}

Result<std::vector<Appended>> append(Transaction& transaction, std::span<const NewEvent> events,
                                     ExpectedVersion expected) {
    for (const NewEvent& event : events) {
        INSTEP_TRY(check(event));
    }
    if (transaction.dialect().name() == "postgres") {
        return append_to_postgres(transaction, events, expected);
    }
    INSTEP_TRY_ASSIGN(StreamVersions versions, read_versions(transaction, events, expected));
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());

    // A whole append that is in the log already is a repeat, not a conflict.
    std::vector<Appended> appended;
    appended.reserve(events.size());
    bool checked = !expected.value();
    for (const NewEvent& event : events) {
        if (!event.id.empty()) {
            INSTEP_TRY_ASSIGN(const auto earlier, find_by_id(transaction, event.id));
            if (earlier) {
                appended.push_back(*earlier);
                continue;
            }
        }
        if (!checked && versions[event.stream] != *expected.value()) {
            return stream_has_moved(event.stream, versions[event.stream], *expected.value());
        }
        checked = true;
        const std::uint64_t version = event.stream.empty() ? 0 : ++versions[event.stream];
        INSTEP_TRY_ASSIGN(const std::uint64_t seq, insert(transaction, event, version, now));
        appended.push_back(Appended{seq, version, false});
    }
    INSTEP_FAIL_POINT("log.after_append");
    return appended;
}

}  // namespace instep
