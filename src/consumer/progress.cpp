#include "progress.hpp"

#include "instep/consumer/consumer.hpp"

namespace instep {

Result<void> add_progress(Transaction& transaction, std::string_view subscription,
                          const Reached& reached, const ApplyCounts& counts, Timestamp now,
                          AfterProgress after) {
    const auto number = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
    ValueView incarnation;
    ValueView version;
    std::string bytes;
    if (reached.newest != nullptr) {
        bytes = to_bytes(reached.newest->version);
        incarnation = number(reached.newest->incarnation);
        version = BlobView{bytes};
    }
    constexpr std::string_view kAdd =
        "INSERT INTO instep_progress AS p (subscription, partition, position, applied, "
        "duplicates_ignored, stale_ignored, not_addressed, discarded, moved_us, incarnation, "
        "version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
        "ON CONFLICT (subscription, partition) DO UPDATE SET "
        "position = CASE WHEN excluded.position > p.position "
        "  THEN excluded.position ELSE p.position END, "
        "incarnation = CASE WHEN p.version IS NULL OR excluded.version >= p.version "
        "  THEN excluded.incarnation ELSE p.incarnation END, "
        "version = CASE WHEN p.version IS NULL OR excluded.version >= p.version "
        "  THEN excluded.version ELSE p.version END, "
        "applied = p.applied + excluded.applied, "
        "duplicates_ignored = p.duplicates_ignored + excluded.duplicates_ignored, "
        "stale_ignored = p.stale_ignored + excluded.stale_ignored, "
        "not_addressed = p.not_addressed + excluded.not_addressed, "
        "discarded = p.discarded + excluded.discarded, moved_us = excluded.moved_us";
    const std::initializer_list<ValueView> parameters = {
        subscription,
        std::int64_t{reached.partition},
        number(reached.position),
        number(counts.applied),
        number(counts.duplicates_ignored),
        number(counts.stale_ignored),
        number(counts.not_addressed),
        number(counts.discarded),
        std::int64_t{now.time_since_epoch().count()},
        incarnation,
        version};
    INSTEP_TRY(after == AfterProgress::kCommit ? transaction.commit_behind(kAdd, parameters)
                                               : transaction.execute(kAdd, parameters));
    return {};
}

Result<std::optional<LastPublished>> last_taken(Connection& connection,
                                                std::string_view subscription,
                                                std::uint32_t partition) {
    INSTEP_TRY_ASSIGN(
        const auto rows,
        connection.query("SELECT incarnation, version FROM instep_progress WHERE "
                         "subscription = $1 AND partition = $2 AND version IS NOT NULL",
                         std::initializer_list<ValueView>{subscription, std::int64_t{partition}}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return std::nullopt;
    }
    LastPublished last;
    last.incarnation = static_cast<std::uint64_t>(rows->integer(0));
    INSTEP_TRY_ASSIGN(last.version, version_from_bytes(rows->blob(1)));
    return last;
}

Result<std::vector<SubscriptionProgress>> list_progress(Connection& connection) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query("SELECT subscription, partition, position, applied, duplicates_ignored, "
                         "stale_ignored, not_addressed, discarded, moved_us "
                         "FROM instep_progress ORDER BY subscription, partition",
                         {}));
    const auto count = [&rows](std::size_t column) {
        return static_cast<std::uint64_t>(rows->integer(column));
    };
    std::vector<SubscriptionProgress> all;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return all;
        }
        all.push_back(SubscriptionProgress{
            std::string(rows->text(0)), static_cast<std::uint32_t>(rows->integer(1)), count(2),
            ApplyCounts{count(3), count(4), count(5), count(6), count(7)},
            Timestamp{std::chrono::microseconds{rows->integer(8)}}});
    }
}

}  // namespace instep
