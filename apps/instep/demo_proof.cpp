#include "demo_proof.hpp"

#include "instep/base/bytes.hpp"
#include "instep/replica/verification.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <thread>

namespace instep::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kStalledAfter = 30s;
constexpr int kAttemptsMax = 5;

/// The value with its type and length, so that no two rows give the same bytes.
void append_value(std::string& bytes, const ValueView& value) {
    bytes.push_back(static_cast<char>(value.index()));
    if (const auto* integer = std::get_if<std::int64_t>(&value)) {
        append_big_endian(bytes, static_cast<std::uint64_t>(*integer));
    } else if (const auto* real = std::get_if<double>(&value)) {
        append_big_endian(bytes, std::bit_cast<std::uint64_t>(*real));
    } else if (!std::holds_alternative<std::monostate>(value)) {
        const auto* text = std::get_if<std::string_view>(&value);
        const std::string_view raw = text != nullptr ? *text : std::get<BlobView>(value).bytes;
        append_big_endian(bytes, std::uint64_t{raw.size()});
        bytes.append(raw);
    }
}

/// Reads the table once, a row at a time; each hash goes into the next.
Result<TableDigest> digest(Connection& connection, std::string_view table) {
    INSTEP_TRY_ASSIGN(
        auto row, connection.query(
                      fmt::format("SELECT {} FROM {} ORDER BY id", kPublishedColumns, table), {}));
    TableDigest digest;
    std::string bytes;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, row->next());
        if (!more) {
            return digest;
        }
        bytes.clear();
        append_big_endian(bytes, digest.hash);
        for (std::size_t column = 0; column < row->column_count(); ++column) {
            append_value(bytes, row->at(column));
        }
        digest.hash = key_hash(bytes);
        ++digest.rows;
    }
}

Result<std::string> request(const DemoReplica& replica, Random& random) {
    INSTEP_TRY_ASSIGN(auto transaction,
                      Transaction::begin(*replica.connection, TransactionMode::kWrite));
    INSTEP_TRY_ASSIGN(std::string id, request_verification(transaction, replica.definition,
                                                           VerificationPurpose::kVerify, random));
    INSTEP_TRY(transaction.commit());
    return id;
}

Result<Proof> prove_once(DemoSystem& system) {
    INSTEP_TRY_ASSIGN(const auto differences, verify_replicas(system));
    Proof proof;
    INSTEP_TRY_ASSIGN(proof.users, digest(system.iam(), "users"));
    for (std::size_t i = 0; i < differences.size(); ++i) {
        const DemoReplica& replica = system.replicas()[i];
        INSTEP_TRY_ASSIGN(const TableDigest content,
                          digest(*replica.connection, replica.definition.table));
        proof.replicas.push_back({replica.service, content, differences[i]});
    }
    return proof;
}

}  // namespace

std::uint64_t Proof::differences(std::size_t replica) const {
    const ReplicaProof& proof = replicas[replica];
    return std::max<std::uint64_t>(proof.differences, proof.content == users ? 0 : 1);
}

std::uint64_t Proof::differences() const {
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < replicas.size(); ++i) {
        all += differences(i);
    }
    return all;
}

Result<std::vector<std::uint64_t>> verify_replicas(DemoSystem& system) {
    const Clock& clock = system.context().clock;
    std::vector<std::string> ids;
    for (const DemoReplica& replica : system.replicas()) {
        INSTEP_TRY_ASSIGN(ids.emplace_back(), request(replica, system.context().random));
    }
    std::uint64_t last_checked = 0;
    auto last_moved = clock.monotonic();
    for (;;) {
        std::vector<std::uint64_t> differences;
        std::uint64_t checked = 0;
        for (std::size_t i = 0; i < ids.size(); ++i) {
            INSTEP_TRY_ASSIGN(const VerificationStatus status,
                              read_verification(*system.replicas()[i].connection, ids[i]));
            if (!status.problem.empty()) {
                return fail(ErrorCode::kRejected, "iam refused to verify: " + status.problem);
            }
            checked += status.rows_checked;
            if (status.finished) {
                differences.push_back(status.differences);
            }
        }
        if (differences.size() == ids.size()) {
            return differences;
        }
        const auto now = clock.monotonic();
        last_moved = checked == last_checked ? last_moved : now;
        last_checked = checked;
        if (now - last_moved > kStalledAfter) {
            return fail(ErrorCode::kTimeout,
                        fmt::format("verification does not move after {} rows", checked));
        }
        std::this_thread::sleep_for(10ms);
    }
}

Result<Proof> prove(DemoSystem& system) {
    for (int attempt = 1;; ++attempt) {
        INSTEP_TRY_ASSIGN(const SystemLook before, system.wait_until_caught_up());
        INSTEP_TRY_ASSIGN(Proof proof, prove_once(system));
        INSTEP_TRY_ASSIGN(const SystemLook after, system.look());
        if (before.committed == after.committed || proof.differences() == 0 ||
            attempt == kAttemptsMax) {
            return proof;
        }
    }
}

}  // namespace instep::cli
