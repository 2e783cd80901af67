#include "guarded_apply.hpp"

#include "instep/base/bytes.hpp"
#include "instep/base/fail_point.hpp"
#include "replica_store.hpp"
#include "row_source.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <ranges>

namespace instep {

namespace {

/// The order of texts, but of numbers where both are some.
bool stands_before(std::string_view a, std::string_view b) {
    const auto is_number = [](std::string_view text) {
        return text.find_first_not_of("0123456789") == std::string_view::npos;
    };
    if (a.size() != b.size() && is_number(a) && is_number(b)) {
        return a.size() < b.size();
    }
    return a < b;
}

}  // namespace

Result<void> GuardedApply::begin(Transaction& transaction, const ReplicaTable& table,
                                 bool tombstones_exist) {
    arena_.clear();
    partial_.clear();
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    now_us_ = micros(now);
    tombstones_exist_ = tombstones_exist;
    const std::size_t keys = table.key_places().size();
    upserts_ = Bulk{
        table.source_columns().size() + (tombstones_exist_ ? 2 : 1), table.key_places(), {}, {}};
    deletes_ = Bulk{keys + 3, {}, {}, {}};
    deletes_.key_places.resize(keys);
    std::iota(deletes_.key_places.begin(), deletes_.key_places.end(), std::size_t{0});
    return {};
}

/// Fills newest_ and older_; counts what is older than another event before it in the batch.
ApplyCounts GuardedApply::keep_newest(std::span<const Event* const> events) {
    ApplyCounts counts;
    newest_.clear();
    older_.assign(events.size(), std::nullopt);
    for (std::size_t i = 0; i < events.size(); ++i) {
        const auto [slot, first] = newest_.try_emplace(events[i]->key, i);
        if (first) {
            continue;
        }
        const auto order = events[i]->version <=> events[slot->second]->version;
        if (order > 0) {
            older_[i] = slot->second;
            slot->second = i;
        } else {
            ++(order == 0 ? counts.duplicates_ignored : counts.stale_ignored);
        }
    }
    return counts;
}

/// In the table's own order, so that each of its pages is taken up once a batch.
std::vector<std::size_t> GuardedApply::newest_by_key() const {
    std::vector<std::pair<std::string_view, std::size_t>> keys(newest_.begin(), newest_.end());
    std::ranges::sort(keys,
                      [](const auto& a, const auto& b) { return stands_before(a.first, b.first); });
    std::vector<std::size_t> newest;
    newest.reserve(keys.size());
    for (const auto& [key, index] : keys) {
        newest.push_back(index);
    }
    return newest;
}

std::uint64_t GuardedApply::older_events(std::size_t newest) const {
    std::uint64_t count = 0;
    for (auto older = older_[newest]; older; older = older_[*older]) {
        ++count;
    }
    return count;
}

Result<Row> GuardedApply::key_of(const ReplicaTable& table) const {
    Row key;
    for (const std::size_t place : table.key_places()) {
        if (std::holds_alternative<std::monostate>(row_[place])) {
            return fail(ErrorCode::kCorrupt,
                        fmt::format("the event's data has no value for key column {}",
                                    table.source_columns()[place]));
        }
        key.push_back(row_[place]);
    }
    return key;
}

void GuardedApply::stage_row(const ReplicaTable& table, std::string_view version,
                             std::size_t source) {
    upserts_.values.insert(upserts_.values.end(), row_.begin(), row_.end());
    upserts_.values.emplace_back(BlobView{version});
    if (tombstones_exist_) {
        Row key;
        for (const std::size_t place : table.key_places()) {
            key.push_back(row_[place]);
        }
        upserts_.values.emplace_back(arena_.keep(key_text(key)));
    }
    upserts_.sources.push_back(source);
}

void GuardedApply::stage_delete(const Row& key, std::string_view version, std::size_t source) {
    deletes_.values.insert(deletes_.values.end(), key.begin(), key.end());
    deletes_.values.emplace_back(BlobView{version});
    deletes_.values.emplace_back(arena_.keep(key_text(key)));
    deletes_.values.emplace_back(now_us_);
    deletes_.sources.push_back(source);
}

Result<void> GuardedApply::stage(const ReplicaTable& table, const Event& event, std::size_t index) {
    if (auto read = json_.read_object(event.data, table.source_columns(), arena_, row_, present_);
        !read) {
        return fail_in(fmt::format("event {} of key {}", event.id, event.key),
                       std::move(read).error());
    }
    INSTEP_TRY_ASSIGN(const auto key, key_of(table));
    const std::string_view version = arena_.keep(to_bytes(event.version));
    if (event.operation == Operation::kDelete) {
        stage_delete(key, version, index);
    } else if (std::ranges::find(present_, false) != present_.end()) {
        partial_.push_back(index);
    } else {
        stage_row(table, version, index);
    }
    return {};
}

Result<ApplyCounts> GuardedApply::apply_events(Transaction& transaction, const ReplicaTable& table,
                                               std::span<const Event* const> events,
                                               bool tombstones_exist) {
    INSTEP_TRY(begin(transaction, table, tombstones_exist));
    ApplyCounts counts = keep_newest(events);
    for (const std::size_t newest : newest_by_key()) {
        INSTEP_TRY(stage(table, *events[newest], newest));
    }
    const std::string& upsert = tombstones_exist_ ? table.upsert() : table.upsert_untombed();
    INSTEP_TRY(transaction.set_savepoint());
    const auto upserted = write(transaction, table, upsert, upserts_, events);
    if (!upserted && upserted.error().code == ErrorCode::kRejected) {
        INSTEP_TRY(transaction.rollback_to_savepoint());
        INSTEP_TRY(transaction.release_savepoint());
        return apply_unless_old(transaction, table, events, upserted.error());
    }
    INSTEP_TRY(upserted);
    INSTEP_TRY(transaction.release_savepoint());
    INSTEP_FAIL_POINT("replica.after_upserts");
    INSTEP_TRY_ASSIGN(const ApplyCounts deleted, write_deletes(transaction, table, events));
    INSTEP_FAIL_POINT("replica.after_deletes");
    counts += *upserted;
    counts += deleted;
    for (const std::size_t newest : partial_) {
        INSTEP_TRY_ASSIGN(const ApplyCounts written,
                          write_partial(transaction, table, events, newest));
        counts += written;
    }
    return counts;
}

Result<std::vector<std::int64_t>> GuardedApply::write_bulk(Transaction& transaction,
                                                           const std::string& sql,
                                                           const Bulk& bulk) {
    return write_rows(transaction, sql, {bulk.columns, bulk.values},
                      [&](std::span<const ValueView> row) {
                          Row key;
                          for (const std::size_t place : bulk.key_places) {
                              key.push_back(row[place]);
                          }
                          return key_text(key);
                      });
}

Result<ApplyCounts> GuardedApply::write(Transaction& transaction, const ReplicaTable& table,
                                        const std::string& sql, const Bulk& bulk,
                                        std::span<const Event* const> events) {
    ApplyCounts counts;
    INSTEP_TRY_ASSIGN(const auto changed, write_bulk(transaction, sql, bulk));
    for (std::size_t i = 0; i < changed.size(); ++i) {
        const std::size_t source = bulk.sources[i];
        const std::uint64_t older = older_events(source);
        if (changed[i] > 0) {
            counts.applied += 1 + older;
            continue;
        }
        INSTEP_TRY_ASSIGN(const bool duplicate, is_duplicate(transaction, table, *events[source]));
        ++(duplicate ? counts.duplicates_ignored : counts.stale_ignored);
        counts.stale_ignored += older;
    }
    return counts;
}

Result<ApplyCounts> GuardedApply::write_deletes(Transaction& transaction, const ReplicaTable& table,
                                                std::span<const Event* const> events) {
    INSTEP_TRY_ASSIGN(const ApplyCounts counts,
                      write(transaction, table, table.bury(), deletes_, events));
    INSTEP_TRY(remove_buried(transaction, table, table.remove()));
    return counts;
}

Result<void> GuardedApply::remove_buried(Transaction& transaction, const ReplicaTable& table,
                                         const std::string& sql) {
    const std::size_t columns = table.key_places().size() + 1;
    std::vector<ValueView> parameters;
    for (std::size_t i = 0; i < deletes_.values.size(); i += deletes_.columns) {
        const auto row = deletes_.values.begin() + static_cast<std::ptrdiff_t>(i);
        parameters.insert(parameters.end(), row, row + static_cast<std::ptrdiff_t>(columns));
    }
    Bulk keys{columns, deletes_.key_places, std::move(parameters), {}};
    INSTEP_TRY(write_bulk(transaction, sql, keys));
    return {};
}

/// An event that leaves columns out builds on the older ones of its key, so all are written,
/// one after the other.
Result<ApplyCounts> GuardedApply::write_partial(Transaction& transaction, const ReplicaTable& table,
                                                std::span<const Event* const> events,
                                                std::size_t newest) {
    std::vector<std::size_t> history;
    for (std::optional<std::size_t> next = newest; next; next = older_[*next]) {
        history.push_back(*next);
    }
    ApplyCounts counts;
    for (const std::size_t index : history | std::views::reverse) {
        const Event& event = *events[index];
        if (event.operation == Operation::kDelete) {
            deletes_ = Bulk{deletes_.columns, deletes_.key_places, {}, {}};
            INSTEP_TRY(stage(table, event, index));
            INSTEP_TRY(write_deletes(transaction, table, events));
            ++counts.applied;
            continue;
        }
        INSTEP_TRY_ASSIGN(const bool written, upsert_present(transaction, table, event));
        if (written) {
            ++counts.applied;
            continue;
        }
        INSTEP_TRY_ASSIGN(const bool duplicate, is_duplicate(transaction, table, event));
        ++(duplicate ? counts.duplicates_ignored : counts.stale_ignored);
    }
    return counts;
}

Result<bool> GuardedApply::upsert_present(Transaction& transaction, const ReplicaTable& table,
                                          const Event& event) {
    INSTEP_TRY(json_.read_object(event.data, table.source_columns(), arena_, row_, present_));
    INSTEP_TRY_ASSIGN(const auto key, key_of(table));
    std::vector<std::size_t> places;
    Bulk bulk;
    for (std::size_t i = 0; i < present_.size(); ++i) {
        if (present_[i]) {
            places.push_back(i);
            bulk.values.push_back(row_[i]);
        }
    }
    for (const std::size_t place : table.key_places()) {
        bulk.key_places.push_back(
            static_cast<std::size_t>(std::ranges::find(places, place) - places.begin()));
    }
    const std::string version = to_bytes(event.version);
    const std::string text = key_text(key);
    bulk.values.emplace_back(BlobView{version});
    bulk.values.emplace_back(std::string_view(text));
    bulk.columns = bulk.values.size();
    INSTEP_TRY_ASSIGN(const auto changed, write_bulk(transaction, table.upsert_of(places), bulk));
    return changed.front() > 0;
}

/// A constraint is asked before the guard is. What is older than what stands there would have
/// been ignored, so it must not fail either.
Result<ApplyCounts> GuardedApply::apply_unless_old(Transaction& transaction,
                                                   const ReplicaTable& table,
                                                   std::span<const Event* const> events,
                                                   const Error& rejection) {
    std::vector<const Event*> fresh;
    for (const Event* event : events) {
        INSTEP_TRY_ASSIGN(const std::string standing, standing_version(transaction, table, *event));
        if (standing < to_bytes(event->version)) {
            fresh.push_back(event);
        }
    }
    if (fresh.size() == events.size()) {
        return std::unexpected(rejection);
    }
    INSTEP_TRY_ASSIGN(ApplyCounts counts,
                      apply_events(transaction, table, fresh, tombstones_exist_));
    counts.stale_ignored += events.size() - fresh.size();
    return counts;
}

/// Tells why the guard said no: the same version is there, as a row or as a tombstone, or a
/// newer one is.
Result<bool> GuardedApply::is_duplicate(Transaction& transaction, const ReplicaTable& table,
                                        const Event& event) {
    INSTEP_TRY_ASSIGN(const std::string standing, standing_version(transaction, table, event));
    return standing == to_bytes(event.version);
}

/// The newest version of the event's row, standing or buried, as bytes; empty for none.
Result<std::string> GuardedApply::standing_version(Transaction& transaction,
                                                   const ReplicaTable& table, const Event& event) {
    INSTEP_TRY(json_.read_object(event.data, table.source_columns(), arena_, row_, present_));
    INSTEP_TRY_ASSIGN(const auto key, key_of(table));
    INSTEP_TRY_ASSIGN(auto row, transaction.query(table.version_of(), key));
    INSTEP_TRY_ASSIGN(const bool stands, row->next());
    std::string version(stands ? row->blob(0) : "");
    const std::string text = key_text(key);
    INSTEP_TRY_ASSIGN(auto tombstone,
                      transaction.query("SELECT version FROM instep_tombstone "
                                        "WHERE replica = $1 AND key = $2",
                                        {table.replica_id(), std::string_view(text)}));
    INSTEP_TRY_ASSIGN(const bool buried, tombstone->next());
    return buried ? std::max(version, std::string(tombstone->blob(0))) : version;
}

Result<GuardedApply::ChunkOutcome> GuardedApply::apply_chunk(
    Transaction& transaction, const Event& event,
    const std::function<Result<const ReplicaTable*>(const ChunkHeader&)>& header) {
    ChunkOutcome outcome;
    const ReplicaTable* table = nullptr;
    std::vector<std::size_t> places;
    std::string_view version;
    const auto open = [&](const ChunkHeader& head) -> Result<void> {
        outcome.header = head;
        INSTEP_TRY_ASSIGN(table, header(head));
        if (table == nullptr) {
            return {};
        }
        for (const std::string& column : table->source_columns()) {
            const auto place = std::ranges::find(head.columns, column);
            if (place == head.columns.end()) {
                return fail(ErrorCode::kCorrupt,
                            fmt::format("chunk {} lacks column {}", event.id, column));
            }
            places.push_back(static_cast<std::size_t>(place - head.columns.begin()));
        }
        INSTEP_TRY_ASSIGN(
            const auto tombstone,
            transaction.query("SELECT 1 FROM instep_tombstone WHERE replica = $1 LIMIT 1",
                              {table->replica_id()}));
        INSTEP_TRY_ASSIGN(const bool tombstones_exist, tombstone->next());
        INSTEP_TRY(begin(transaction, *table, tombstones_exist));
        version = arena_.keep(to_bytes(event.version));
        return {};
    };
    const auto add = [&](const Row& values) -> Result<void> {
        if (table == nullptr) {
            return {};
        }
        if (values.size() != outcome.header.columns.size()) {
            return fail(ErrorCode::kCorrupt,
                        fmt::format("a row of chunk {} has {} values, not {}", event.id,
                                    values.size(), outcome.header.columns.size()));
        }
        row_.clear();
        for (const std::size_t place : places) {
            row_.push_back(values[place]);
        }
        stage_row(*table, version, outcome.rows++);
        return {};
    };
    INSTEP_TRY(json_.read_chunk(event.data, arena_, open, add));
    if (table == nullptr) {
        return outcome;
    }
    INSTEP_TRY_ASSIGN(const bool is_copied, copy_into_void(transaction, *table, outcome.header));
    if (is_copied) {
        INSTEP_FAIL_POINT("replica.after_chunk_rows");
        return outcome;
    }
    INSTEP_TRY(write_bulk(
        transaction, tombstones_exist_ ? table->restore() : table->restore_untombed(), upserts_));
    INSTEP_FAIL_POINT("replica.after_chunk_rows");
    INSTEP_TRY_ASSIGN(outcome.strays, delete_strays(transaction, *table, outcome.header, version));
    INSTEP_FAIL_POINT("replica.after_strays");
    return outcome;
}

/// Where nothing stands in a chunk's range and nothing was deleted, there is nothing to compare
/// with, and no stray. False if something is in the way after all, such as another unique index.
Result<bool> GuardedApply::copy_into_void(Transaction& transaction, const ReplicaTable& table,
                                          const ChunkHeader& header) {
    if (!transaction.dialect().binds_arrays() || tombstones_exist_ || upserts_.values.empty()) {
        return false;
    }
    INSTEP_TRY_ASSIGN(const Row bounds, json_.read_bounds(header.after, header.to, arena_));
    INSTEP_TRY_ASSIGN(auto standing,
                      transaction.query(fmt::format("{}{} LIMIT 1", table.select("1"),
                                                    table.where_range(header.after, header.to, "")),
                                        bounds));
    INSTEP_TRY_ASSIGN(const bool is_occupied, standing->next());
    if (is_occupied) {
        return false;
    }
    INSTEP_TRY(transaction.set_savepoint());
    const auto copied =
        transaction.copy_rows(table.name(), table.copied(), {upserts_.columns, upserts_.values});
    if (!copied && copied.error().code != ErrorCode::kRejected) {
        return std::unexpected(copied.error());
    }
    if (!copied) {
        INSTEP_TRY(transaction.rollback_to_savepoint());
    }
    INSTEP_TRY(transaction.release_savepoint());
    return copied.has_value();
}

/// In a backfill, every row of the range that the chunk did not make as new as itself is one
/// that the source does not have: its version says so, without comparing keys. A repair must
/// also see through copied versions, so it compares.
Result<std::uint64_t> GuardedApply::delete_strays(Transaction& transaction,
                                                  const ReplicaTable& table,
                                                  const ChunkHeader& header,
                                                  std::string_view version) {
    const bool repairs = header.scan.contains('/');
    const std::set<std::string> kept = repairs ? staged_keys(table) : std::set<std::string>();
    INSTEP_TRY_ASSIGN(Row parameters, json_.read_bounds(header.after, header.to, arena_));
    parameters.emplace_back(BlobView{version});
    const std::string older =
        fmt::format("{} {} ${}", kVersionColumn, repairs ? "<=" : "<", parameters.size());
    INSTEP_TRY_ASSIGN(auto rows,
                      transaction.query(table.select(table.key_list()) +
                                            table.where_range(header.after, header.to, older),
                                        parameters));
    const std::size_t keys = table.key_places().size();
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            break;
        }
        Row key;
        for (std::size_t i = 0; i < keys; ++i) {
            key.push_back(arena_.keep_value(rows->at(i)));
        }
        const std::string text = key_text(key);
        if (key_hash(text) % header.partitions == header.partition && !kept.contains(text)) {
            stage_delete(key, version, 0);
        }
    }
    rows.reset();
    INSTEP_TRY(write_bulk(transaction, table.bury(), deletes_));
    INSTEP_TRY(remove_buried(transaction, table, repairs ? table.remove_as_old() : table.remove()));
    return deletes_.sources.size();
}

std::set<std::string> GuardedApply::staged_keys(const ReplicaTable& table) const {
    std::set<std::string> keys;
    for (std::size_t row = 0; row < upserts_.values.size(); row += upserts_.columns) {
        Row key;
        for (const std::size_t place : table.key_places()) {
            key.push_back(upserts_.values[row + place]);
        }
        keys.insert(key_text(key));
    }
    return keys;
}

}  // namespace instep
