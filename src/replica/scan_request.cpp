#include "instep/capture/capture.hpp"
#include "instep/replica/scan.hpp"
#include "replica_store.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>

namespace instep {

namespace {

constexpr std::array kKinds = {ScanKind::kRows, ScanKind::kRanges, ScanKind::kKeys};

/// Why the request cannot be met; empty if it can.
Result<std::string> objection(Connection& connection, const ScanRequest& request) {
    INSTEP_TRY_ASSIGN(const auto contracts, contracts_in_force(connection));
    for (const Contract& contract : contracts) {
        if (contract.entity != request.entity) {
            continue;
        }
        for (const std::string& column : request.columns) {
            if (contract.find(column) == nullptr) {
                return fmt::format("{} does not publish column {}", contract.schema(), column);
            }
        }
        return std::string();
    }
    return fmt::format("entity {} is not published; see [[publish]] in the owner's service file",
                       request.entity);
}

}  // namespace

std::string_view to_string(ScanKind kind) noexcept {
    switch (kind) {
        case ScanKind::kRows:
            return "rows";
        case ScanKind::kRanges:
            return "ranges";
        case ScanKind::kKeys:
            return "keys";
    }
    return "unknown";
}

std::string to_json(const ScanRequest& request) {
    nlohmann::ordered_json json = {{"scan", request.id},
                                   {"consumer", request.consumer},
                                   {"entity", request.entity},
                                   {"kind", to_string(request.kind)},
                                   {"columns", request.columns},
                                   {"after", request.after},
                                   {"to", request.to}};
    if (request.in_transactions) {
        json["in_transactions"] = true;
    }
    return json.dump();
}

Result<ScanRequest> scan_request_from_json(std::string_view text) {
    try {
        const auto json = nlohmann::json::parse(text);
        ScanRequest request;
        json.at("scan").get_to(request.id);
        json.at("consumer").get_to(request.consumer);
        json.at("entity").get_to(request.entity);
        json.at("columns").get_to(request.columns);
        json.at("after").get_to(request.after);
        json.at("to").get_to(request.to);
        request.in_transactions = json.value("in_transactions", false);
        for (const ScanKind kind : kKinds) {
            if (json.at("kind") == to_string(kind)) {
                request.kind = kind;
                return request;
            }
        }
        return fail(ErrorCode::kCorrupt, "a scan request has an unknown kind");
    } catch (const nlohmann::json::exception& error) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("a scan request cannot be read: {}", error.what()));
    }
}

Verdict accept_scan_request(Transaction& transaction, const Event& event,
                            std::uint32_t partitions) {
    const auto request = scan_request_from_json(event.data);
    if (!request) {
        return Verdict::discard(request.error().message);
    }
    const auto problem = objection(transaction.connection(), *request);
    const auto now = transaction.connection().now();
    if (!problem || !now) {
        return Verdict::retry((problem ? now.error() : problem.error()).message);
    }
    const std::string text = to_json(*request);
    // Where there are several, whole transactions are refused, once.
    const std::uint32_t answered = request->in_transactions ? 1 : partitions;
    for (std::uint32_t partition = 0; partition < answered; ++partition) {
        const auto added = transaction.execute(
            "INSERT INTO instep_scan (id, partition, consumer, entity, kind, request, state, "
            "error, "
            "moved_us) VALUES ($1, $2, $3, $4, $5, $6, 'open', $7, $8) ON CONFLICT DO NOTHING",
            {std::string_view(request->id), std::int64_t{partition},
             std::string_view(request->consumer), std::string_view(request->entity),
             to_string(request->kind), std::string_view(text), std::string_view(*problem),
             micros(*now)});
        if (!added) {
            return Verdict::retry(added.error().message);
        }
    }
    return Verdict::done();
}

Result<void> command_scan(Transaction& transaction, std::string_view id, ScanCommand command) {
    const std::string_view change =
        command == ScanCommand::kPause    ? "state = 'paused' WHERE id = $1 AND state = 'open'"
        : command == ScanCommand::kResume ? "state = 'open' WHERE id = $1 AND state = 'paused'"
                                          : "state = 'open', error = 'an operator cancelled it' "
                                            "WHERE id = $1 AND state IN ('open', 'paused')";
    INSTEP_TRY_ASSIGN(const std::int64_t changed,
                      transaction.execute(fmt::format("UPDATE instep_scan SET {}", change), {id}));
    if (changed > 0) {
        return {};
    }
    INSTEP_TRY_ASSIGN(
        auto rows,
        transaction.query("SELECT state FROM instep_scan WHERE id = $1 AND state IN ('open', "
                          "'paused') LIMIT 1",
                          {id}));
    INSTEP_TRY_ASSIGN(const bool under_way, rows->next());
    if (!under_way) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("no scan {} is under way; `instep scans` lists them", id));
    }
    return fail(ErrorCode::kConflict, fmt::format("scan {} is {} already", id, rows->text(0)));
}

Result<std::vector<ScanStatus>> list_scans(Connection& connection, std::uint32_t count) {
    INSTEP_TRY_ASSIGN(
        auto rows,
        connection.query("SELECT id, partition, consumer, entity, kind, state, rows_sent, "
                         "chunks_sent, error FROM instep_scan ORDER BY moved_us DESC LIMIT $1",
                         std::initializer_list<ValueView>{std::int64_t{count}}));
    std::vector<ScanStatus> scans;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return scans;
        }
        scans.push_back(ScanStatus{
            std::string(rows->text(0)), static_cast<std::uint32_t>(rows->integer(1)),
            std::string(rows->text(2)), std::string(rows->text(3)), std::string(rows->text(4)),
            std::string(rows->text(5)), static_cast<std::uint64_t>(rows->integer(6)),
            static_cast<std::uint64_t>(rows->integer(7)), std::string(rows->text(8))});
    }
}

Result<std::uint64_t> trim_scans(Transaction& transaction, Timestamp before,
                                 std::uint32_t rows_max) {
    INSTEP_TRY_ASSIGN(
        const std::int64_t trimmed,
        transaction.execute("DELETE FROM instep_scan WHERE (id, partition) IN ("
                            "  SELECT id, partition FROM instep_scan WHERE moved_us < $1 AND "
                            "  state IN ('done', 'refused') ORDER BY moved_us LIMIT $2)",
                            {micros(before), std::int64_t{rows_max}}));
    return static_cast<std::uint64_t>(trimmed);
}

}  // namespace instep
