#include "instep/capture/capture.hpp"

#include "triggers.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

namespace {

Result<void> check_distinct(std::span<const PublishEntry> entries) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (entries[i].entity == entries[j].entity || entries[i].table == entries[j].table) {
                return fail(
                    ErrorCode::kConflict,
                    fmt::format("table {} as {} and table {} as {} are published twice; one "
                                "entry a table and one entity an entry",
                                entries[j].table, entries[j].entity, entries[i].table,
                                entries[i].entity));
            }
        }
    }
    return {};
}

/// The same contract but for its version.
bool same_terms(Contract a, const Contract& b) {
    a.version = b.version;
    return a == b;
}

class CapturePlan {
public:
    CapturePlan(const Dialect& dialect, StandingTriggers triggers, CaptureBy by)
        : dialect_(dialect), triggers_(std::move(triggers)), by_(by) {}

    void require(const Contract& wanted, const TableDescription& table, const Contract* in_force) {
        Contract contract = wanted;
        contract.version = in_force == nullptr             ? 1
                           : same_terms(wanted, *in_force) ? in_force->version
                                                           : in_force->version + 1;
        if (in_force == nullptr || contract.version != in_force->version) {
            record(contract, in_force);
        }
        if (by_ == CaptureBy::kWal) {
            return;
        }
        for (Trigger& trigger : capture_triggers(contract, table, dialect_)) {
            const auto standing = triggers_.find(trigger.name);
            if (standing != triggers_.end() && standing->second.mark == trigger.mark) {
                triggers_.erase(standing);
                continue;
            }
            if (standing != triggers_.end()) {
                drop(trigger.name, standing->second, "replace");
                triggers_.erase(standing);
            }
            changes_.push_back(
                {fmt::format("create trigger {} on {}", trigger.name, contract.table),
                 std::move(trigger.create)});
        }
    }

    void withdraw(const Contract& contract) {
        changes_.push_back(
            {fmt::format("stop publishing {} of table {}", contract.entity, contract.table),
             fmt::format("DELETE FROM instep_contract WHERE entity = {}",
                         text_literal(contract.entity))});
    }

    /// Whatever capture trigger nobody asked for goes.
    std::vector<SchemaChange> finish() {
        for (const auto& [name, standing] : triggers_) {
            drop(name, standing, "drop");
        }
        return std::move(changes_);
    }

private:
    void record(const Contract& contract, const Contract* in_force) {
        changes_.push_back(
            {in_force == nullptr
                 ? fmt::format("publish {} from table {} ({} columns)", contract.entity,
                               contract.table, contract.columns.size())
                 : fmt::format("change the contract of {} from version {} to {}", contract.entity,
                               in_force->version, contract.version),
             fmt::format(
                 "INSERT INTO instep_contract (entity, table_name, version, contract, "
                 "applied_us)\nVALUES ({}, {}, {}, {}, {})\nON CONFLICT (entity) DO UPDATE SET "
                 "table_name = excluded.table_name, version = excluded.version,\n  "
                 "contract = excluded.contract, applied_us = excluded.applied_us",
                 text_literal(contract.entity), text_literal(contract.table), contract.version,
                 text_literal(to_json(contract)), now_us(dialect_))});
    }

    void drop(std::string_view name, const StandingTrigger& standing, std::string_view verb) {
        changes_.push_back({fmt::format("{} trigger {}", verb, name), standing.drop});
    }

    const Dialect& dialect_;
    StandingTriggers triggers_;
    const CaptureBy by_;
    std::vector<SchemaChange> changes_;
};

}  // namespace

Result<std::vector<Contract>> contracts_in_force(Connection& connection) {
    INSTEP_TRY_ASSIGN(auto rows,
                      connection.query("SELECT contract FROM instep_contract ORDER BY entity", {}));
    std::vector<Contract> contracts;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return contracts;
        }
        INSTEP_TRY_ASSIGN(Contract contract, contract_from_json(rows->text(0)));
        contracts.push_back(std::move(contract));
    }
}

Result<std::vector<SchemaChange>> plan_capture(Connection& connection, std::string_view service,
                                               std::span<const PublishEntry> entries,
                                               CaptureBy by) {
    INSTEP_TRY(check_distinct(entries));
    // Before the first apply our own tables are missing, and nothing is in force.
    std::vector<Contract> in_force;
    auto contracts = contracts_in_force(connection);
    if (contracts) {
        in_force = std::move(*contracts);
    } else if (contracts.error().code != ErrorCode::kNotFound) {
        return std::unexpected(std::move(contracts).error());
    }
    INSTEP_TRY_ASSIGN(StandingTriggers triggers, standing_triggers(connection));
    CapturePlan plan(connection.dialect(), std::move(triggers), by);
    for (const Contract& contract : in_force) {
        if (std::ranges::find(entries, contract.entity, &PublishEntry::entity) == entries.end()) {
            plan.withdraw(contract);
        }
    }
    for (const PublishEntry& entry : entries) {
        INSTEP_TRY_ASSIGN(const Contract wanted, bind_contract(connection, service, entry));
        const auto standing = std::ranges::find(in_force, entry.entity, &Contract::entity);
        INSTEP_TRY_ASSIGN(const TableDescription table,
                          connection.dialect().describe_table(connection, entry.table));
        plan.require(wanted, table, standing == in_force.end() ? nullptr : &*standing);
    }
    return plan.finish();
}

Result<void> run_changes(Transaction& transaction, std::span<const SchemaChange> changes) {
    for (const SchemaChange& change : changes) {
        if (auto done = transaction.connection().execute_script(change.sql); !done) {
            return fail_in(change.summary, std::move(done).error());
        }
    }
    return {};
}

Result<std::size_t> apply_capture(Transaction& transaction, std::string_view service,
                                  std::span<const PublishEntry> entries) {
    INSTEP_TRY_ASSIGN(const auto changes, plan_capture(transaction.connection(), service, entries));
    INSTEP_TRY(run_changes(transaction, changes));
    return changes.size();
}

}  // namespace instep
