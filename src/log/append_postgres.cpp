#include "append.hpp"
#include "instep/base/bytes.hpp"
#include "instep/base/fail_point.hpp"

#include <map>
#include <set>
#include <string>

namespace instep {

namespace {

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

ValueView or_null(std::string_view text) {
    return text.empty() ? ValueView{kNull} : ValueView{text};
}

/// What earlier appends made of events with these ids, by id.
using KnownEvents = std::map<std::string, Appended, std::less<>>;

/// Claims the ids of the events. An id that another transaction is about to append is waited for.
Result<KnownEvents> claim_ids(Transaction& transaction, std::span<const NewEvent> events,
                              Timestamp now) {
    // In one order everywhere, so that two appends cannot wait for each other.
    std::set<std::string_view> ids;
    for (const NewEvent& event : events) {
        if (!event.id.empty()) {
            ids.insert(event.id);
        }
    }
    KnownEvents known;
    for (const std::string_view id : ids) {
        INSTEP_TRY_ASSIGN(const std::int64_t claimed,
                          transaction.execute("INSERT INTO instep.event_id (id, time_us) "
                                              "VALUES ($1, $2) ON CONFLICT DO NOTHING",
                                              {id, micros(now)}));
        if (claimed > 0) {
            continue;
        }
        INSTEP_TRY_ASSIGN(
            const auto row,
            transaction.query("SELECT seq, stream_version FROM instep.event_id WHERE id = $1",
                              {id}));
        INSTEP_TRY(row->next());
        known.emplace(id, Appended{static_cast<std::uint64_t>(row->integer(0)),
                                   static_cast<std::uint64_t>(row->integer(1)), true});
    }
    return known;
}

using StreamVersions = std::map<std::string_view, std::uint64_t>;

/// The newest version of each stream, locked until the transaction ends: what is appended to a
/// stream draws its number behind everything that the stream holds.
Result<StreamVersions> lock_streams(Transaction& transaction, std::span<const NewEvent> events) {
    StreamVersions versions;
    for (const NewEvent& event : events) {
        if (!event.stream.empty()) {
            versions.emplace(event.stream, 0);
        }
    }
    for (auto& [stream, version] : versions) {
        INSTEP_TRY_ASSIGN(
            const auto row,
            transaction.query("INSERT INTO instep.stream AS s (name, version) VALUES ($1, 0) "
                              "ON CONFLICT (name) DO UPDATE SET version = s.version "
                              "RETURNING version",
                              {stream}));
        INSTEP_TRY(row->next());
        version = static_cast<std::uint64_t>(row->integer(0));
    }
    return versions;
}

void add_row(std::vector<ValueView>& values, const NewEvent& event, std::uint64_t stream_version) {
    const bool is_text = is_utf8(event.data) && event.data.find('\0') == std::string::npos;
    const auto data = std::string_view(event.data);
    values.insert(
        values.end(),
        {std::string_view(event.topic), std::string_view(event.key), std::string_view(event.type),
         static_cast<std::int64_t>(event.operation), or_null(event.id), or_null(event.stream),
         event.stream.empty() ? ValueView{kNull}
                              : ValueView{static_cast<std::int64_t>(stream_version)},
         event.content_type == "application/json" ? ValueView{kNull}
                                                  : ValueView{std::string_view(event.content_type)},
         or_null(event.schema), or_null(event.correlation_id), or_null(event.causation_id),
         or_null(event.trace_parent), is_text ? ValueView{data} : ValueView{kNull},
         is_text ? ValueView{kNull} : ValueView{BlobView{event.data}}});
}

constexpr std::size_t kColumns = 14;

constexpr std::string_view kInsert =
    "INSERT INTO instep.log (topic, key, type, operation, id, stream, stream_version, "
    "content_type, schema, correlation_id, causation_id, trace_parent, data, bytes, kept) "
    "SELECT e.*, e.stream IS NOT NULL FROM unnest($1::text[], $2::text[], $3::text[], "
    "$4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::text[], $10::text[], "
    "$11::text[], $12::text[], $13::text[], $14::bytea[]) AS e (topic, key, type, operation, id, "
    "stream, stream_version, content_type, schema, correlation_id, causation_id, trace_parent, "
    "data, bytes) RETURNING seq";

Result<void> note_streams(Transaction& transaction, const StreamVersions& versions) {
    for (const auto& [stream, version] : versions) {
        INSTEP_TRY(transaction.execute("UPDATE instep.stream SET version = $1 WHERE name = $2",
                                       {static_cast<std::int64_t>(version), stream}));
    }
    return {};
}

Result<void> note_ids(Transaction& transaction, std::span<const NewEvent> events,
                      std::span<const Appended> appended) {
    for (std::size_t i = 0; i < events.size(); ++i) {
        if (!events[i].id.empty() && !appended[i].repeated) {
            INSTEP_TRY(transaction.execute(
                "UPDATE instep.event_id SET seq = $1, stream_version = nullif($2, 0) WHERE id = $3",
                {static_cast<std::int64_t>(appended[i].seq),
                 static_cast<std::int64_t>(appended[i].stream_version),
                 std::string_view(events[i].id)}));
        }
    }
    return {};
}

}  // namespace

Result<std::vector<Appended>> append_to_postgres(Transaction& transaction,
                                                 std::span<const NewEvent> events,
                                                 ExpectedVersion expected) {
    if (expected.value()) {
        INSTEP_TRY(check_one_stream(events));
    }
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    INSTEP_TRY_ASSIGN(KnownEvents known, claim_ids(transaction, events, now));
    INSTEP_TRY_ASSIGN(StreamVersions versions, lock_streams(transaction, events));
    std::vector<Appended> appended;
    std::vector<ValueView> rows;
    std::map<std::string_view, std::size_t> here;
    bool checked = !expected.value();
    for (const NewEvent& event : events) {
        if (const auto earlier = known.find(event.id); earlier != known.end()) {
            appended.push_back(earlier->second);
            continue;
        }
        if (const auto earlier = here.find(event.id); earlier != here.end()) {
            appended.push_back(appended[earlier->second]);
            appended.back().repeated = true;
            continue;
        }
        if (!event.id.empty()) {
            here.emplace(event.id, appended.size());
        }
        // A whole append that is in the log already is a repeat, not a conflict.
        if (!checked && versions[event.stream] != *expected.value()) {
            return stream_has_moved(event.stream, versions[event.stream], *expected.value());
        }
        checked = true;
        const std::uint64_t version = event.stream.empty() ? 0 : ++versions[event.stream];
        add_row(rows, event, version);
        appended.push_back(Appended{0, version, false});
    }
    if (!rows.empty()) {
        INSTEP_TRY_ASSIGN(const auto seqs, transaction.query_bulk(kInsert, {kColumns, rows}));
        for (Appended& place : appended) {
            if (!place.repeated) {
                INSTEP_TRY(seqs->next());
                place.seq = static_cast<std::uint64_t>(seqs->integer(0));
            }
        }
        for (std::size_t i = 0; i < events.size(); ++i) {
            if (const auto first = here.find(events[i].id); first != here.end()) {
                appended[i].seq = appended[first->second].seq;
            }
        }
        INSTEP_TRY(note_streams(transaction, versions));
        INSTEP_TRY(note_ids(transaction, events, appended));
    }
    INSTEP_FAIL_POINT("log.after_append");
    return appended;
}

}  // namespace instep
