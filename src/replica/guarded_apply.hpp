// Writes rows where they are newer than what is there.
#pragma once

#include "instep/consumer/handler.hpp"
#include "instep/event/event.hpp"
#include "json_rows.hpp"
#include "replica_table.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace instep {

/// Bulk writes for one replica table; one a thread. All within the caller's transaction.
class GuardedApply {
public:
    /// Upserts and deletes, newest of each key only; older ones of the batch count as applied with
    /// it. `tombstones_exist` may be true without need, which is slower. Errors: as
    /// ReplicaHandler::apply().
    Result<ApplyCounts> apply_events(Transaction& transaction, const ReplicaTable& table,
                                     std::span<const Event* const> events, bool tombstones_exist);

    struct ChunkOutcome {
        ChunkHeader header;
        std::uint64_t rows = 0;
        std::uint64_t strays = 0;
    };

    /// Writes all rows of a chunk, then deletes what its range holds beside them. `header` is
    /// called before the first row, may change the local table, and returns the one to write
    /// to; nullptr leaves the rows out.
    Result<ChunkOutcome> apply_chunk(
        Transaction& transaction, const Event& event,
        const std::function<Result<const ReplicaTable*>(const ChunkHeader&)>& header);

private:
    /// Parameters for one execute_many(), and which event each row came from.
    struct Bulk {
        std::size_t columns = 0;

        /// Where the key's columns stand in a row.
        std::vector<std::size_t> key_places;
        std::vector<ValueView> values;
        std::vector<std::size_t> sources;
    };

    Result<void> begin(Transaction& transaction, const ReplicaTable& table, bool tombstones_exist);
    ApplyCounts keep_newest(std::span<const Event* const> events);
    Result<void> stage(const ReplicaTable& table, const Event& event, std::size_t index);
    void stage_row(const ReplicaTable& table, std::string_view version, std::size_t source);
    void stage_delete(const Row& key, std::string_view version, std::size_t source);
    [[nodiscard]] Result<Row> key_of(const ReplicaTable& table) const;
    static Result<std::vector<std::int64_t>> write_bulk(Transaction& transaction,
                                                        const std::string& sql, const Bulk& bulk);
    Result<ApplyCounts> write(Transaction& transaction, const ReplicaTable& table,
                              const std::string& sql, const Bulk& bulk,
                              std::span<const Event* const> events);
    Result<ApplyCounts> write_deletes(Transaction& transaction, const ReplicaTable& table,
                                      std::span<const Event* const> events);
    Result<void> remove_buried(Transaction& transaction, const ReplicaTable& table,
                               const std::string& sql);
    Result<ApplyCounts> write_partial(Transaction& transaction, const ReplicaTable& table,
                                      std::span<const Event* const> events, std::size_t newest);
    Result<bool> upsert_present(Transaction& transaction, const ReplicaTable& table,
                                const Event& event);
    Result<ApplyCounts> apply_unless_old(Transaction& transaction, const ReplicaTable& table,
                                         std::span<const Event* const> events,
                                         const Error& rejection);
    Result<std::string> standing_version(Transaction& transaction, const ReplicaTable& table,
                                         const Event& event);
    Result<bool> is_duplicate(Transaction& transaction, const ReplicaTable& table,
                              const Event& event);
    [[nodiscard]] std::vector<std::size_t> newest_by_key() const;
    [[nodiscard]] std::uint64_t older_events(std::size_t newest) const;
    Result<bool> copy_into_void(Transaction& transaction, const ReplicaTable& table,
                                const ChunkHeader& header);
    Result<std::uint64_t> delete_strays(Transaction& transaction, const ReplicaTable& table,
                                        const ChunkHeader& header, std::string_view version);

    [[nodiscard]] std::set<std::string> staged_keys(const ReplicaTable& table) const;

    JsonRows json_;
    ValueArena arena_;
    Row row_;
    std::vector<bool> present_;
    bool tombstones_exist_ = true;
    std::int64_t now_us_ = 0;
    Bulk upserts_;
    Bulk deletes_;

    /// Events whose data leaves out columns: those stay as they are.
    std::vector<std::size_t> partial_;

    /// The newest event of each key, and for each event the next older one of its key.
    std::unordered_map<std::string_view, std::size_t> newest_;
    std::vector<std::optional<std::size_t>> older_;
};

}  // namespace instep
