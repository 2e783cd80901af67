#include "digest.hpp"
#include "guarded_apply.hpp"
#include "instep/replica/replica.hpp"
#include "instep/telemetry/logger.hpp"
#include "replica_store.hpp"
#include "replica_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace instep {

namespace {

bool is_row_event(const Event& event) {
    return event.operation == Operation::kUpsert || event.operation == Operation::kDelete;
}

bool has_deletes(std::span<const Event* const> events) {
    return std::ranges::any_of(
        events, [](const Event* event) { return event->operation == Operation::kDelete; });
}

/// The consumer that a chunk or digest is meant for.
std::string_view addressee(const Event& event) {
    const auto found = std::ranges::find(event.extensions, "consumer",
                                         &std::pair<std::string, std::string>::first);
    return found == event.extensions.end() ? "" : std::string_view(found->second);
}

/// The version at the end of "iam.user/3"; 0 if there is none.
std::uint32_t contract_version(std::string_view schema) {
    std::uint32_t version = 0;
    const std::string_view digits = schema.substr(schema.rfind('/') + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), version);
    return version;
}

}  // namespace

class ReplicaHandler::Impl {
public:
    Impl(ReplicaDefinition definition, Random& random, Logger& logger)
        : definition_(std::move(definition)), random_(random), logger_(logger) {}

    Result<ApplyCounts> apply(Transaction& transaction, std::span<const Event* const> events) {
        INSTEP_TRY_ASSIGN(ReplicaRow row, replica_row(transaction, definition_));
        if (auto bound = bind(row, transaction.dialect()); !bound) {
            if (bound.error().code != ErrorCode::kSchemaMismatch) {
                return std::unexpected(std::move(bound).error());
            }
            // Columns were mapped that this contract lacks. The backfill brings one that has them.
            table_.reset();
        }
        ApplyCounts counts;
        for (std::size_t i = 0; i < events.size();) {
            const Event& event = *events[i];
            INSTEP_TRY(heed_epoch(transaction, row, event));
            if (is_row_event(event)) {
                const std::size_t end = end_of_run(events, i, row.epoch);
                INSTEP_TRY_ASSIGN(const ApplyCounts applied,
                                  apply_run(transaction, row, events.subspan(i, end - i)));
                counts += applied;
                row.has_tombstones = row.has_tombstones || has_deletes(events.subspan(i, end - i));
                i = end;
                continue;
            }
            row.has_tombstones = true;
            INSTEP_TRY_ASSIGN(const ApplyCounts applied, apply_range(transaction, row, event));
            counts += applied;
            ++i;
        }
        return counts;
    }

private:
    /// Makes table_ what the stored contract says. The cache is keyed by the contract's text,
    /// so a transaction that was rolled back cannot leave it wrong.
    Result<void> bind(const ReplicaRow& row, const Dialect& dialect) {
        if (row.contract.empty()) {
            table_.reset();
        } else if (!table_ || row.contract != bound_text_) {
            INSTEP_TRY_ASSIGN(contract_, contract_from_json(row.contract));
            INSTEP_TRY_ASSIGN(table_, ReplicaTable::bind(definition_, contract_, row.id, dialect));
        }
        bound_text_ = row.contract;
        return {};
    }

    static std::size_t end_of_run(std::span<const Event* const> events, std::size_t begin,
                                  std::uint32_t epoch) {
        std::size_t end = begin;
        while (end < events.size() && is_row_event(*events[end]) &&
               events[end]->version.epoch <= epoch) {
            ++end;
        }
        return end;
    }

    /// A higher epoch means that the source was restored: rows that it lost stand here still,
    /// so everything is asked for again.
    Result<void> heed_epoch(Transaction& transaction, ReplicaRow& row, const Event& event) {
        if (event.version.epoch <= row.epoch) {
            return {};
        }
        const bool first = row.epoch == 0;
        row.epoch = event.version.epoch;
        INSTEP_TRY(transaction.execute("UPDATE instep_replica SET epoch = $1 WHERE id = $2",
                                       {std::int64_t{row.epoch}, row.id}));
        if (first) {
            return {};
        }
        logger_.warn(
            "replica.source_was_rewound",
            {{"replica", definition_.table}, {"epoch", static_cast<std::int64_t>(row.epoch)}});
        return refill(transaction, row);
    }

    Result<void> refill(Transaction& transaction, ReplicaRow& row) {
        INSTEP_TRY_ASSIGN(row.backfill, begin_backfill(transaction, definition_, row.id, random_));
        row.state = ReplicaState::kFilling;
        return {};
    }

    Result<ApplyCounts> apply_run(Transaction& transaction, ReplicaRow& row,
                                  std::span<const Event* const> events) {
        const bool outgrown = std::ranges::any_of(
            events, [&](const Event* event) { return is_newer(contract_of(*event), row); });
        if (outgrown) {
            INSTEP_TRY(note_passed(transaction, row, events));
        }
        if (!table_) {
            // The backfill that brings the table is read after these, and holds them. But what it
            // does not hold is known to be gone only by this, should an older event come late.
            INSTEP_TRY(bury(transaction, row, events));
            ApplyCounts counts;
            counts.stale_ignored = events.size();
            return counts;
        }
        if (row.state == ReplicaState::kLive && outgrown) {
            logger_.info("replica.contract_changed",
                         {{"replica", definition_.table}, {"schema", events.back()->schema}});
            INSTEP_TRY(refill(transaction, row));
        }
        return outgrown ? apply_outgrown(transaction, row, events)
                        : guarded_.apply_events(transaction, *table_, events, row.has_tombstones);
    }

    /// Rows of a newer contract may not fit the table as it is. The chunks that were asked for
    /// bring both, and are not older than what was passed.
    Result<ApplyCounts> apply_outgrown(Transaction& transaction, const ReplicaRow& row,
                                       std::span<const Event* const> events) {
        INSTEP_TRY(transaction.set_savepoint());
        auto applied = guarded_.apply_events(transaction, *table_, events, row.has_tombstones);
        if (!applied && applied.error().code == ErrorCode::kRejected) {
            INSTEP_TRY(transaction.rollback_to_savepoint());
            applied = ApplyCounts{};
            applied->stale_ignored = events.size();
        }
        INSTEP_TRY(applied);
        INSTEP_TRY(transaction.release_savepoint());
        return applied;
    }

    /// A contract's place among all that the owner ever had.
    using ContractAge = std::pair<std::uint32_t, std::uint32_t>;

    static ContractAge contract_of(const Event& event) {
        return {event.version.epoch, contract_version(event.schema)};
    }

    [[nodiscard]] bool is_newer(const ContractAge& contract, const ReplicaRow& row) const {
        return !table_ || contract > ContractAge{row.contract_epoch, contract_.version};
    }

    static Result<void> note_passed(Transaction& transaction, ReplicaRow& row,
                                    std::span<const Event* const> events) {
        for (const Event* event : events) {
            row.passed = std::max(row.passed, to_bytes(event->version));
        }
        INSTEP_TRY(transaction.execute("UPDATE instep_replica SET passed = $1 WHERE id = $2",
                                       {BlobView{row.passed}, row.id}));
        return {};
    }

    static Result<void> bury(Transaction& transaction, const ReplicaRow& row,
                             std::span<const Event* const> events) {
        INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
        for (const Event* event : events) {
            if (event->operation != Operation::kDelete) {
                continue;
            }
            const std::string version = to_bytes(event->version);
            INSTEP_TRY(transaction.execute(
                "INSERT INTO instep_tombstone (replica, key, version, removed_us) "
                "VALUES ($1, $2, $3, $4) ON CONFLICT (replica, key) DO UPDATE SET "
                "version = excluded.version, removed_us = excluded.removed_us "
                "WHERE instep_tombstone.version < excluded.version",
                {row.id, std::string_view(event->key), BlobView{version}, micros(now)}));
        }
        return {};
    }

    Result<ApplyCounts> apply_range(Transaction& transaction, ReplicaRow& row, const Event& event) {
        ApplyCounts counts;
        const bool mine = addressee(event) == definition_.address();
        if (!mine || event.operation == Operation::kNone) {
            counts.not_addressed = 1;
            return counts;
        }
        if (event.operation == Operation::kChunk) {
            INSTEP_TRY(apply_chunk(transaction, row, event));
        } else if (table_) {
            INSTEP_TRY(compare_digest(transaction, definition_, *table_, event, json_));
        }
        counts.applied = 1;
        return counts;
    }

    /// What the rows of a chunk do for the replica.
    enum class Fit : std::uint8_t {
        kWhole,       ///< They make their range as the source's.
        kLeavesGaps,  ///< They do, but other ranges now lack columns.
        kOutdated,    ///< They lack columns, or changes that were passed over meanwhile.
    };

    Result<void> apply_chunk(Transaction& transaction, ReplicaRow& row, const Event& event) {
        Fit fit = Fit::kWhole;
        const auto open = [&](const ChunkHeader& header) -> Result<const ReplicaTable*> {
            if (!header.refused.empty()) {
                return nullptr;
            }
            INSTEP_TRY_ASSIGN(fit, fit_contract(transaction, row, event, header));
            if (fit != Fit::kOutdated && !holds_columns(header)) {
                // Asked for when fewer were needed.
                fit = Fit::kOutdated;
            }
            return fit == Fit::kOutdated ? nullptr : &*table_;
        };
        INSTEP_TRY_ASSIGN(const auto outcome, guarded_.apply_chunk(transaction, event, open));
        if (outcome.strays > 0) {
            logger_.info("replica.strays_removed",
                         {{"replica", definition_.table},
                          {"rows", static_cast<std::int64_t>(outcome.strays)}});
        }
        INSTEP_TRY_ASSIGN(const Answer answer, take_answer(transaction, outcome.header));
        const bool awaited = outcome.header.scan == row.backfill;
        if (awaited) {
            INSTEP_TRY(note_filled(transaction, row, outcome, answer));
        } else if (answer.ends_scan) {
            INSTEP_TRY(note_repaired(transaction, outcome.header.scan));
        }
        const bool fills = awaited || (fit == Fit::kLeavesGaps && row.state == ReplicaState::kLive);
        if (fit != Fit::kWhole && fills && !answer.repeated) {
            return refill(transaction, row);
        }
        return {};
    }

    /// Adopts the contract of the backfill under way. Chunks come in order with the changes,
    /// except after they were parked, between partitions, and when they are delivered again.
    Result<Fit> fit_contract(Transaction& transaction, ReplicaRow& row, const Event& event,
                             const ChunkHeader& header) {
        if (to_bytes(event.version) < row.passed) {
            return Fit::kOutdated;
        }
        const std::uint32_t epoch = event.version.epoch;
        if (table_ && header.contract == row.contract && epoch == row.contract_epoch) {
            return Fit::kWhole;
        }
        INSTEP_TRY_ASSIGN(const Contract contract, contract_from_json(header.contract));
        const bool first = !table_;
        if (!first && !is_newer({epoch, contract.version}, row)) {
            return Fit::kOutdated;
        }
        if (!first && header.scan != row.backfill) {
            return Fit::kLeavesGaps;
        }
        if (header.scan != row.backfill &&
            !ReplicaTable::bind(definition_, contract, row.id, transaction.dialect())) {
            return Fit::kOutdated;
        }
        INSTEP_TRY(adopt_contract(transaction, row, header.contract, epoch));
        INSTEP_TRY_ASSIGN(const bool begun, is_answered(transaction, header.scan));
        return !first && begun ? Fit::kLeavesGaps : Fit::kWhole;
    }

    [[nodiscard]] bool holds_columns(const ChunkHeader& header) const {
        return std::ranges::all_of(table_->source_columns(), [&](const std::string& column) {
            return std::ranges::find(header.columns, column) != header.columns.end();
        });
    }

    Result<void> adopt_contract(Transaction& transaction, ReplicaRow& row, const std::string& text,
                                std::uint32_t epoch) {
        INSTEP_TRY_ASSIGN(const std::optional<Contract> before, stored_contract(row.contract));
        row.contract = text;
        row.contract_epoch = epoch;
        INSTEP_TRY(bind(row, transaction.dialect()));
        INSTEP_TRY_ASSIGN(const auto changes,
                          table_->missing(transaction.connection(), before ? &*before : nullptr));
        INSTEP_TRY(run_changes(transaction, changes));
        if (before) {
            tell_of_dropped_columns(*before);
        }
        INSTEP_TRY(transaction.execute(
            "UPDATE instep_replica SET contract = $1, contract_epoch = $2 WHERE id = $3",
            {std::string_view(text), std::int64_t{epoch}, row.id}));
        return {};
    }

    /// The column stays for those who read it, and nothing is written to it any more.
    void tell_of_dropped_columns(const Contract& before) {
        for (const ContractColumn& column : before.columns) {
            if (definition_.columns.empty() && contract_.find(column.name) == nullptr) {
                logger_.warn("replica.column_left_the_contract", {{"replica", definition_.table},
                                                                  {"column", column.name},
                                                                  {"schema", contract_.schema()}});
            }
        }
    }

    Result<void> note_filled(Transaction& transaction, ReplicaRow& row,
                             const GuardedApply::ChunkOutcome& outcome, const Answer& answer) {
        if (answer.repeated) {
            return {};
        }
        if (!outcome.header.refused.empty()) {
            row.state = ReplicaState::kRefused;
        } else if (answer.ends_scan) {
            row.state = ReplicaState::kLive;
        }
        INSTEP_TRY(transaction.execute(
            "UPDATE instep_replica SET state = $1, problem = $2, filled_rows = filled_rows + $3 "
            "WHERE id = $4",
            {to_string(row.state), std::string_view(outcome.header.refused),
             static_cast<std::int64_t>(outcome.rows), row.id}));
        if (answer.ends_scan) {
            logger_.info("replica.filled",
                         {{"replica", definition_.table}, {"state", to_string(row.state)}});
        }
        return {};
    }

    Result<void> note_repaired(Transaction& transaction, const std::string& scan) {
        INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
        INSTEP_TRY(transaction.execute(
            "UPDATE instep_difference SET repaired_us = $1 WHERE verification = $2 AND repair = $3",
            {micros(now), verification_of(scan), std::string_view(scan)}));
        return close_verification_scan(transaction, scan);
    }

    const ReplicaDefinition definition_;
    Random& random_;
    Logger& logger_;
    GuardedApply guarded_;
    JsonRows json_;
    std::string bound_text_;
    Contract contract_;
    std::optional<ReplicaTable> table_;
};

ReplicaHandler::ReplicaHandler(ReplicaDefinition definition, Random& random, Logger& logger)
    : impl_(std::make_unique<Impl>(std::move(definition), random, logger)) {}
ReplicaHandler::~ReplicaHandler() = default;

Result<ApplyCounts> ReplicaHandler::apply(Transaction& transaction,
                                          std::span<const Event* const> events) {
    return impl_->apply(transaction, events);
}

Result<std::vector<SchemaChange>> plan_replica(Connection& connection,
                                               const ReplicaDefinition& definition,
                                               const Contract* contract) {
    INSTEP_TRY(refuse_rows_of_others(connection, definition.table));
    std::vector<SchemaChange> changes;
    if (contract != nullptr) {
        INSTEP_TRY_ASSIGN(const ReplicaTable table,
                          ReplicaTable::bind(definition, *contract, 0, connection.dialect()));
        INSTEP_TRY_ASSIGN(const auto before, stored_contract(connection, definition));
        INSTEP_TRY_ASSIGN(changes, table.missing(connection, before ? &*before : nullptr));
    }
    INSTEP_TRY_ASSIGN(const auto remapped, find_remapped(connection, definition));
    if (remapped) {
        changes.push_back(
            {fmt::format("fill replica {} again, its columns are others now", definition.table),
             fmt::format("UPDATE instep_replica SET state = 'new' WHERE id = {}", *remapped)});
    }
    return changes;
}

}  // namespace instep
