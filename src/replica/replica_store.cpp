#include "replica_store.hpp"

#include "instep/base/fail_point.hpp"
#include "instep/base/uuid.hpp"
#include "instep/db/dialect.hpp"
#include "instep/log/boundary.hpp"
#include "instep/log/log.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>

namespace instep {

namespace {

constexpr std::array kStates = {ReplicaState::kNew, ReplicaState::kFilling, ReplicaState::kLive,
                                ReplicaState::kRefused};

std::string mapping_of(const ReplicaDefinition& definition) {
    return nlohmann::json(definition.columns).dump();
}

Result<std::string> new_id(Transaction& transaction, Random& random) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    return uuid_v7_from(now, random.next(), random.next());
}

}  // namespace

std::int64_t micros(Timestamp time) { return time.time_since_epoch().count(); }

std::string_view to_string(ReplicaState state) noexcept {
    switch (state) {
        case ReplicaState::kNew:
            return "new";
        case ReplicaState::kFilling:
            return "filling";
        case ReplicaState::kLive:
            return "live";
        case ReplicaState::kRefused:
            return "refused";
    }
    return "unknown";
}

Result<ReplicaState> parse_replica_state(std::string_view text) {
    for (const ReplicaState state : kStates) {
        if (to_string(state) == text) {
            return state;
        }
    }
    return fail(ErrorCode::kCorrupt, fmt::format("\"{}\" is no state of a replica", text));
}

std::string ReplicaDefinition::address() const { return fmt::format("{}.{}", service, table); }

std::string ReplicaDefinition::subscription() const {
    return apply == ApplyUnit::kKey ? address() : fmt::format("{}.{}", service, source_topic());
}

std::string ReplicaDefinition::source_topic() const {
    return apply == ApplyUnit::kKey ? topic : transactions_topic(owner());
}

std::string ReplicaDefinition::entity() const { return topic.substr(topic.find('.') + 1); }

std::string ReplicaDefinition::owner() const { return topic.substr(0, topic.find('.')); }

std::string ReplicaDefinition::request_topic() const { return owner() + ".requests"; }

Result<ReplicaRow> replica_row(Transaction& transaction, const ReplicaDefinition& definition) {
    const std::string_view table = definition.table;
    // Members with different partitions of the topic must agree on what the replica is, and on
    // which of them took in the last answer to a scan.
    const std::string select = fmt::format(
        "SELECT id, state, contract, epoch, backfill, topic, contract_epoch, passed, "
        "EXISTS (SELECT 1 FROM instep_tombstone t WHERE t.replica = r.id) "
        "FROM instep_replica r WHERE table_name = $1{}",
        transaction.dialect().row_lock(RowLock::kExclusive));
    INSTEP_TRY_ASSIGN(auto rows, transaction.query(select, {table}));
    INSTEP_TRY_ASSIGN(const bool is_known, rows->next());
    if (!is_known) {
        INSTEP_TRY(
            transaction.execute("INSERT INTO instep_replica (table_name, topic, state) "
                                "VALUES ($1, $2, 'new') ON CONFLICT (table_name) DO NOTHING",
                                {table, std::string_view(definition.topic)}));
        INSTEP_TRY_ASSIGN(rows, transaction.query(select, {table}));
        INSTEP_TRY(rows->next());
    }
    if (rows->text(5) != definition.topic) {
        return fail(
            ErrorCode::kConflict,
            fmt::format("table {} is a replica of {}, not of {}; use another table, or drop "
                        "it and its row in instep_replica",
                        table, rows->text(5), definition.topic));
    }
    ReplicaRow row;
    row.id = rows->integer(0);
    INSTEP_TRY_ASSIGN(row.state, parse_replica_state(rows->text(1)));
    row.contract = rows->text(2);
    row.epoch = static_cast<std::uint32_t>(rows->integer(3));
    row.backfill = rows->text(4);
    row.contract_epoch = static_cast<std::uint32_t>(rows->integer(6));
    row.passed = rows->blob(7);
    row.has_tombstones = rows->integer(8) != 0;
    return row;
}

Result<std::optional<Contract>> stored_contract(std::string_view text) {
    if (text.empty()) {
        return std::nullopt;
    }
    INSTEP_TRY_ASSIGN(Contract contract, contract_from_json(text));
    return contract;
}

Result<std::optional<Contract>> stored_contract(Connection& connection,
                                                const ReplicaDefinition& definition) {
    auto rows =
        connection.query("SELECT contract FROM instep_replica WHERE table_name = $1",
                         std::initializer_list<ValueView>{std::string_view(definition.table)});
    if (!rows && rows.error().code == ErrorCode::kNotFound) {
        return std::nullopt;
    }
    INSTEP_TRY(rows);
    INSTEP_TRY_ASSIGN(const bool found, (*rows)->next());
    return found ? stored_contract((*rows)->text(0)) : std::nullopt;
}

Result<std::optional<std::int64_t>> find_remapped(Connection& connection,
                                                  const ReplicaDefinition& definition) {
    const std::string columns = mapping_of(definition);
    auto rows = connection.query(
        "SELECT id FROM instep_replica WHERE table_name = $1 AND state <> 'new' "
        "AND columns <> $2",
        std::initializer_list<ValueView>{std::string_view(definition.table),
                                         std::string_view(columns)});
    if (!rows && rows.error().code == ErrorCode::kNotFound) {
        return std::nullopt;
    }
    INSTEP_TRY(rows);
    INSTEP_TRY_ASSIGN(const bool found, (*rows)->next());
    return found ? std::optional((*rows)->integer(0)) : std::nullopt;
}

Result<void> send_scan_request(Transaction& transaction, const ReplicaDefinition& definition,
                               const ScanRequest& request) {
    NewEvent event;
    event.topic = definition.request_topic();
    event.key = request.consumer;
    event.type = "scan.requested";
    event.data = to_json(request);
    INSTEP_TRY(append(transaction, std::span(&event, 1)));
    return {};
}

Result<std::string> begin_backfill(Transaction& transaction, const ReplicaDefinition& definition,
                                   std::int64_t replica_id, Random& random) {
    INSTEP_TRY_ASSIGN(std::string id, new_id(transaction, random));
    const std::string columns = mapping_of(definition);
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_replica SET state = 'filling', problem = '', backfill = $1, columns = $2, "
        "filled_rows = 0 WHERE id = $3",
        {std::string_view(id), std::string_view(columns), replica_id}));
    ScanRequest request;
    request.id = id;
    request.consumer = definition.address();
    request.entity = definition.entity();
    request.in_transactions = definition.apply == ApplyUnit::kTransaction;
    for (const auto& [source, local] : definition.columns) {
        request.columns.push_back(source);
    }
    INSTEP_TRY(send_scan_request(transaction, definition, request));
    INSTEP_FAIL_POINT("backfill.after_request");
    return id;
}

Result<bool> is_answered(Transaction& transaction, std::string_view scan) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query("SELECT 1 FROM instep_scan_answer WHERE scan = $1 LIMIT 1", {scan}));
    return rows->next();
}

Result<Answer> take_answer(Transaction& transaction, const ChunkHeader& header) {
    const std::string_view scan = header.scan;
    INSTEP_TRY_ASSIGN(
        const std::int64_t taken,
        transaction.execute(
            "INSERT INTO instep_scan_answer (scan, partition, number, last) "
            "VALUES ($1, $2, $3, $4) ON CONFLICT (scan, partition) DO UPDATE SET "
            "number = excluded.number, last = excluded.last "
            "WHERE instep_scan_answer.number < excluded.number",
            {scan, std::int64_t{header.partition}, static_cast<std::int64_t>(header.number),
             std::int64_t{header.last ? 1 : 0}}));
    if (taken == 0) {
        return Answer{.repeated = true, .ends_scan = false};
    }
    INSTEP_TRY_ASSIGN(auto rows, transaction.query("SELECT count(*) FROM instep_scan_answer "
                                                   "WHERE scan = $1 AND last = 1",
                                                   {scan}));
    INSTEP_TRY(rows->next());
    return Answer{.repeated = false,
                  .ends_scan = header.last && rows->integer(0) == header.partitions};
}

std::string_view verification_of(std::string_view scan) { return scan.substr(0, scan.find('/')); }

Result<void> close_verification_scan(Transaction& transaction, std::string_view scan) {
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    INSTEP_TRY(transaction.execute(
        "UPDATE instep_verification SET open_scans = open_scans - 1, "
        "finished_us = CASE WHEN open_scans = 1 THEN CAST($2 AS BIGINT) ELSE NULL END "
        "WHERE id = $1",
        {verification_of(scan), micros(now)}));
    return {};
}

Result<std::optional<std::string>> ensure_filled(Transaction& transaction,
                                                 const ReplicaDefinition& definition,
                                                 Random& random) {
    INSTEP_TRY_ASSIGN(const ReplicaRow row, replica_row(transaction, definition));
    if (row.state != ReplicaState::kNew) {
        return std::nullopt;
    }
    INSTEP_TRY_ASSIGN(std::string id, begin_backfill(transaction, definition, row.id, random));
    return id;
}

Result<std::string> request_backfill(Transaction& transaction, const ReplicaDefinition& definition,
                                     Random& random) {
    INSTEP_TRY_ASSIGN(const ReplicaRow row, replica_row(transaction, definition));
    return begin_backfill(transaction, definition, row.id, random);
}

Result<std::vector<ReplicaStatus>> list_replicas(Connection& connection) {
    INSTEP_TRY_ASSIGN(
        auto rows, connection.query(
                       "SELECT table_name, topic, state, problem, backfill, filled_rows, contract "
                       "FROM instep_replica ORDER BY table_name",
                       {}));
    std::vector<ReplicaStatus> replicas;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return replicas;
        }
        ReplicaStatus status;
        status.table = rows->text(0);
        status.topic = rows->text(1);
        INSTEP_TRY_ASSIGN(status.state, parse_replica_state(rows->text(2)));
        status.problem = rows->text(3);
        status.backfill = rows->text(4);
        status.filled_rows = static_cast<std::uint64_t>(rows->integer(5));
        if (!rows->text(6).empty()) {
            INSTEP_TRY_ASSIGN(status.contract, contract_from_json(rows->text(6)));
        }
        replicas.push_back(std::move(status));
    }
}

Result<std::uint64_t> trim_tombstones(Transaction& transaction, Timestamp before,
                                      std::uint32_t rows_max) {
    INSTEP_TRY_ASSIGN(
        const std::int64_t trimmed,
        transaction.execute("DELETE FROM instep_tombstone WHERE (replica, key) IN ("
                            "  SELECT replica, key FROM instep_tombstone WHERE removed_us < $1 "
                            "  ORDER BY removed_us LIMIT $2)",
                            {micros(before), std::int64_t{rows_max}}));
    return static_cast<std::uint64_t>(trimmed);
}

}  // namespace instep
