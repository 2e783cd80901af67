#include "progress.hpp"

#include "instep/consumer/consumer.hpp"

namespace instep {

Result<void> add_progress(Transaction& transaction, std::string_view subscription,
                          std::uint32_t partition, Position position, const ApplyCounts& counts,
                          Timestamp now) {
    const auto number = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_progress (subscription, partition, position, applied, "
        "duplicates_ignored, stale_ignored, not_addressed, discarded, moved_us) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
        "ON CONFLICT (subscription, partition) DO UPDATE SET "
        "position = CASE WHEN excluded.position > instep_progress.position "
        "  THEN excluded.position ELSE instep_progress.position END, "
        "applied = instep_progress.applied + excluded.applied, "
        "duplicates_ignored = instep_progress.duplicates_ignored + excluded.duplicates_ignored, "
        "stale_ignored = instep_progress.stale_ignored + excluded.stale_ignored, "
        "not_addressed = instep_progress.not_addressed + excluded.not_addressed, "
        "discarded = instep_progress.discarded + excluded.discarded, moved_us = excluded.moved_us",
        {subscription, std::int64_t{partition}, number(position), number(counts.applied),
         number(counts.duplicates_ignored), number(counts.stale_ignored),
         number(counts.not_addressed), number(counts.discarded),
         std::int64_t{now.time_since_epoch().count()}}));
    return {};
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
