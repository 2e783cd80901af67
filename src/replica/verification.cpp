#include "instep/replica/verification.hpp"

#include "instep/base/uuid.hpp"
#include "replica_store.hpp"
#include "replica_table.hpp"

#include <fmt/format.h>

namespace instep {

Result<std::string> request_verification(Transaction& transaction,
                                         const ReplicaDefinition& definition,
                                         VerificationPurpose purpose, Random& random) {
    INSTEP_TRY_ASSIGN(const ReplicaRow row, replica_row(transaction, definition));
    if (row.state != ReplicaState::kLive) {
        return fail(ErrorCode::kConflict,
                    fmt::format("replica {} is {}, not live; wait until its backfill is done",
                                definition.table, to_string(row.state)));
    }
    INSTEP_TRY_ASSIGN(const Contract contract, contract_from_json(row.contract));
    INSTEP_TRY_ASSIGN(const ReplicaTable table,
                      ReplicaTable::bind(definition, contract, row.id, transaction.dialect()));
    INSTEP_TRY_ASSIGN(const Timestamp now, transaction.connection().now());
    ScanRequest request;
    request.id = uuid_v7_from(now, random.next(), random.next());
    request.consumer = definition.address();
    request.entity = contract.entity;
    request.in_transactions = definition.apply == ApplyUnit::kTransaction;
    request.kind = ScanKind::kRanges;
    request.columns = table.source_columns();
    const bool repairs = purpose == VerificationPurpose::kRepair;
    INSTEP_TRY(transaction.execute(
        "INSERT INTO instep_verification (id, replica, purpose, open_scans, scans_asked, "
        "started_us) VALUES ($1, $2, $3, 1, 1, $4)",
        {std::string_view(request.id), row.id, std::string_view(repairs ? "repair" : "verify"),
         micros(now)}));
    INSTEP_TRY(send_scan_request(transaction, definition, request));
    return request.id;
}

Result<VerificationStatus> read_verification(Connection& connection, std::string_view id) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query(
            "SELECT r.table_name, v.purpose, v.problem, v.finished_us, v.rows_checked, "
            "v.ranges_checked, v.as_of, (SELECT count(*) FROM instep_difference d "
            "  WHERE d.verification = v.id), (SELECT count(*) FROM instep_difference d "
            "  WHERE d.verification = v.id AND d.repaired_us IS NOT NULL) "
            "FROM instep_verification v JOIN instep_replica r ON r.id = v.replica WHERE v.id = $1",
            std::initializer_list<ValueView>{id}));
    INSTEP_TRY_ASSIGN(const bool found, rows->next());
    if (!found) {
        return fail(ErrorCode::kNotFound, fmt::format("there is no verification {}", id));
    }
    VerificationStatus status;
    status.id = id;
    status.table = rows->text(0);
    status.purpose =
        rows->text(1) == "repair" ? VerificationPurpose::kRepair : VerificationPurpose::kVerify;
    status.problem = rows->text(2);
    status.finished = !rows->is_null(3);
    status.rows_checked = static_cast<std::uint64_t>(rows->integer(4));
    status.ranges_checked = static_cast<std::uint64_t>(rows->integer(5));
    status.as_of = rows->text(6);
    status.differences = static_cast<std::uint64_t>(rows->integer(7));
    status.repaired = static_cast<std::uint64_t>(rows->integer(8));
    return status;
}

Result<std::vector<Difference>> list_differences(Connection& connection, std::string_view id,
                                                 std::uint32_t count) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query("SELECT key, kind, repaired_us IS NOT NULL FROM instep_difference "
                         "WHERE verification = $1 ORDER BY key LIMIT $2",
                         std::initializer_list<ValueView>{id, std::int64_t{count}}));
    std::vector<Difference> differences;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return differences;
        }
        differences.push_back(Difference{std::string(rows->text(0)), std::string(rows->text(1)),
                                         rows->integer(2) != 0});
    }
}

/// A verification goes last, so that its differences are found as long as there are any.
Result<std::uint64_t> trim_verifications(Transaction& transaction, Timestamp before,
                                         std::uint32_t rows_max) {
    INSTEP_TRY_ASSIGN(
        const std::int64_t differences,
        transaction.execute("DELETE FROM instep_difference WHERE (verification, key) IN ("
                            "  SELECT d.verification, d.key FROM instep_difference d "
                            "  JOIN instep_verification v ON v.id = d.verification "
                            "  WHERE v.finished_us < $1 LIMIT $2)",
                            {micros(before), std::int64_t{rows_max}}));
    const std::int64_t left = std::int64_t{rows_max} - differences;
    if (left <= 0) {
        return static_cast<std::uint64_t>(differences);
    }
    // Scans of a verification are called as it is, with a number behind a slash.
    INSTEP_TRY(transaction.execute(
        "DELETE FROM instep_scan_answer WHERE EXISTS (SELECT 1 FROM instep_verification v "
        "  WHERE v.finished_us < $1 AND (scan = v.id OR scan LIKE v.id || '/%'))",
        {micros(before)}));
    INSTEP_TRY_ASSIGN(
        const std::int64_t verifications,
        transaction.execute("DELETE FROM instep_verification WHERE id IN ("
                            "  SELECT id FROM instep_verification WHERE finished_us < $1 "
                            "  ORDER BY finished_us LIMIT $2)",
                            {micros(before), left}));
    return static_cast<std::uint64_t>(differences + verifications);
}

}  // namespace instep
