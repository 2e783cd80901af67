// Filling a new replica against COPY TO piped into COPY FROM, and verifying one against reading
// both tables once.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "bench/postgres/member_system.hpp"
#include "instep/replica/verification.hpp"

#include <fmt/format.h>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 1'000'000;
constexpr std::int64_t kDifferences = 10;

/// Pipes the owner's table into a new one beside the replica's, which has the same indexes.
void copy_by_pipe(Session& from, Session& to) {
    from.run(fmt::format("COPY (SELECT {} FROM members ORDER BY id) TO STDOUT", member_columns()));
    to.run(fmt::format("COPY copied ({}) FROM STDIN", member_columns()));
    char* row = nullptr;
    for (int size = 0; (size = PQgetCopyData(from.handle(), &row, 0)) > 0;) {
        PQputCopyData(to.handle(), row, size);
        PQfreemem(row);
    }
    PQputCopyEnd(to.handle(), nullptr);
    for (Session* session : {&from, &to}) {
        session->checked(PQgetResult(session->handle()));
        PQgetResult(session->handle());
    }
}

Measured copy_round(MemberSystem& members, const std::string& url, std::int64_t rows) {
    Session target(url);
    target.run(
        "DROP TABLE IF EXISTS copied; CREATE TABLE copied (id bigint PRIMARY KEY, email "
        "text, name text, department text, title text, active boolean, score bigint, "
        "note text)");
    const Measured measured = rate_of(cpu_with(*members.server), [&] {
        copy_by_pipe(members.owner, target);
        return rows;
    });
    if (member_checksum(target, "copied") != member_checksum(members.owner, "members")) {
        throw std::runtime_error("COPY has copied other rows");
    }
    return measured;
}

/// Reads every column of every row in key order, as a verification has to.
void read_table(Session& session) {
    session.run(fmt::format("BEGIN; DECLARE reading CURSOR FOR SELECT {} FROM members ORDER BY id",
                            member_columns()));
    session.prepare("", "FETCH 10000 FROM reading");
    std::int64_t bytes = 0;
    for (;;) {
        const Answer rows = session.run_prepared("", {});
        if (PQntuples(rows.get()) == 0) {
            break;
        }
        for (int row = 0; row < PQntuples(rows.get()); ++row) {
            for (int column = 0; column < PQnfields(rows.get()); ++column) {
                bytes += PQgetlength(rows.get(), row, column);
            }
        }
    }
    session.run("COMMIT");
    if (bytes == 0) {
        throw std::runtime_error("the table is empty");
    }
}

Measured verify_round(MemberSystem& members, Connection& replica, std::int64_t rows) {
    VerificationStatus status;
    const Seconds time = time_of([&] {
        auto transaction = must(Transaction::begin(replica, TransactionMode::kWrite));
        const std::string id =
            must(request_verification(transaction, members.system.definition(0),
                                      VerificationPurpose::kVerify, members.system.random));
        must(transaction.commit());
        wait_until([&] {
            status = must(read_verification(replica, id));
            return status.finished;
        });
    });
    if (status.differences != kDifferences ||
        status.rows_checked < static_cast<std::size_t>(rows)) {
        throw std::runtime_error(
            fmt::format("{} differences in {} rows", status.differences, status.rows_checked));
    }
    return {time.count()};
}

}  // namespace

void run_postgres_backfill_bench(const BenchSize& size) {
    const std::int64_t rows = size.rows.value_or(kRows);
    const int rounds = size.rounds.value_or(3);
    MemberSystem members(static_cast<std::size_t>(rounds), rows);
    const double memory_before = peak_memory_mib();
    std::size_t next = 0;
    const auto fill = [&] {
        members.system.start_owner();
        const Measured measured = rate_of(cpu_with(*members.server), [&] {
            members.fill_replica(next);
            return rows;
        });
        members.system.stop();
        members.check_replica(next++);
        return measured;
    };
    const auto copy = [&] {
        return copy_round(members, members.system.replica_url(next - 1), rows);
    };
    const auto figures =
        measure({{"backfill", fill}, {"COPY TO piped into COPY FROM", copy}}, rounds);
    fmt::print("PostgreSQL to PostgreSQL: backfill of {} rows\n", rows);
    print(figures[0], "rows/s");
    print(figures[1], "rows/s");
    fmt::print("  ratio {:.2f} (bar 0.50); peak memory {:.0f} MiB (before {:.0f} MiB)\n",
               figures[0].median / figures[1].median, peak_memory_mib(), memory_before);
}

void run_postgres_verify_bench(const BenchSize& size) {
    const std::int64_t rows = size.rows.value_or(kRows);
    MemberSystem members(1, rows);
    members.system.start_owner();
    members.fill_replica(0);
    Session damaged(members.system.replica_url(0));
    damaged.run("VACUUM ANALYZE members");
    damaged.run(fmt::format("UPDATE members SET name = 'Damaged' WHERE id % {0} = 1 AND id <= {1}",
                            rows / kDifferences, rows));
    auto replica = members.system.connect_replica(0);
    const auto read = [&] {
        const Seconds time = time_of([&] {
            read_table(members.owner);
            read_table(damaged);
        });
        return Measured{time.count()};
    };
    const auto figures = measure({{"verify", [&] { return verify_round(members, *replica, rows); }},
                                  {"reading both tables once", read}},
                                 size.rounds.value_or(3));
    fmt::print("PostgreSQL to PostgreSQL: verify of {} rows with {} differences\n", rows,
               kDifferences);
    print(figures[0], "s");
    print(figures[1], "s");
    fmt::print("  {:.2f} times the time; peak memory {:.0f} MiB\n",
               figures[0].median / figures[1].median, peak_memory_mib());
}

}  // namespace instep::bench
