// Guarded apply of batches against the unguarded ways to upsert the same rows in bulk.
#include "bench/bench.hpp"
#include "bench/comparison.hpp"
#include "bench/postgres/batches.hpp"
#include "bench/postgres/benchmarks.hpp"
#include "bench/postgres/log_rows.hpp"
#include "bench/postgres/member_table.hpp"
#include "instep/db/postgres/database.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep::bench {

namespace {

constexpr std::int64_t kRows = 1'000'000;
constexpr std::size_t kBatch = 1000;
constexpr std::uint64_t kBatches = 40;

/// What the timed parts of a round cost.
class Cost {
public:
    explicit Cost(const test::PostgresServer& server) : cpu_(cpu_with(server)) {}

    void add(const std::function<void()>& work) {
        const Seconds before = cpu_();
        time_ += time_of(work);
        used_ += cpu_() - before;
    }

    [[nodiscard]] Measured of(std::uint64_t events) const {
        const auto count = static_cast<double>(events);
        return {count / time_.count(), used_.count() * 1e6 / count};
    }

private:
    const std::function<Seconds()> cpu_;
    Seconds time_{};
    Seconds used_{};
};

class ApplyBench {
public:
    explicit ApplyBench(const BenchSize& size)
        : rows_(size.rows.value_or(kRows)),
          server_(start_server({"autovacuum = off"})),
          url_(make_database(*server_, "report")),
          session_(url_),
          database_(must(open_postgres(url_, clock_))),
          handler_({"report", "iam.member", "guarded", {}}, random_, logger_) {
        make_service_tables(*database_);
        connection_ = must(database_->connect());
        make_replica();
        for (const char* table : {"by_unnest", "by_copy", "by_json"}) {
            session_.run(
                fmt::format("CREATE TABLE {0} (LIKE guarded INCLUDING ALL); "
                            "INSERT INTO {0} SELECT * FROM guarded ORDER BY id",
                            table));
        }
        session_.run("VACUUM ANALYZE");
        session_.run("CHECKPOINT");
        ways_.push_back(upsert_by_unnest(url_, "by_unnest"));
        ways_.push_back(upsert_by_copy(url_, "by_copy"));
        ways_.push_back(upsert_by_json(url_, "by_json"));
    }

    void run(int rounds) {
        // The first round writes whole pages to the write-ahead log; it does not count.
        const std::vector<Contender> contenders = {
            {"guarded apply", [this] { return apply_round(); }},
            {"unnest ON CONFLICT", [this] { return bulk_round(0); }},
            {"COPY to a temporary table, INSERT ON CONFLICT", [this] { return bulk_round(1); }},
            {"jsonb_to_recordset ON CONFLICT", [this] { return bulk_round(2); }}};
        measure(contenders, 1);
        const auto figures = measure(contenders, rounds);
        check_tables();
        fmt::print("PostgreSQL: apply of batches of {} to a table of {} rows\n", kBatch, rows_);
        for (const Figures& next : figures) {
            print(next, "rows/s");
        }
        const double best = std::max({figures[1].median, figures[2].median, figures[3].median});
        fmt::print("  ratio to the best {:.2f} (bar 0.85)\n", figures[0].median / best);
    }

private:
    /// A live replica with its rows, as a backfill leaves it.
    void make_replica() {
        session_.run("CREATE SCHEMA owner; SET search_path = owner, public");
        create_members(session_, "members");
        auto contract = must(bind_contract(*connection_, "iam", member_entry("owner.members")));
        session_.run("DROP SCHEMA owner CASCADE; SET search_path = public");
        const ReplicaDefinition definition{"report", "iam.member", "guarded", {}};
        for (const SchemaChange& change : must(plan_replica(*connection_, definition, &contract))) {
            session_.run(change.sql);
        }
        session_.run(
            fmt::format("INSERT INTO guarded ({}, instep_version) SELECT {}, '\\x{}' "
                        "FROM generate_series(1, {}) AS g",
                        member_columns(), member_values(), std::string(32, '0'), rows_));
        const std::string json = to_json(contract);
        must(connection_->execute(
            "INSERT INTO instep_replica (table_name, topic, state, contract, epoch, "
            "contract_epoch) VALUES ('guarded', 'iam.member', 'live', $1, 1, 1)",
            std::initializer_list<ValueView>{std::string_view(json)}));
    }

    /// The same batches in every way of one round.
    std::vector<Member> members_of(std::uint64_t batch) const {
        return random_members(kBatch, rows_, batch);
    }

    Measured apply_round() {
        Cost cost(*server_);
        for (std::uint64_t i = 0; i < kBatches; ++i) {
            ++applied_;
            const std::vector<Event> events = to_events(members_of(applied_), applied_);
            std::vector<const Event*> pointers;
            for (const Event& event : events) {
                pointers.push_back(&event);
            }
            cost.add([&] {
                auto transaction = must(Transaction::begin(*connection_, TransactionMode::kWrite));
                const ApplyCounts counts = must(handler_.apply(transaction, pointers));
                must(transaction.commit());
                if (counts.applied != kBatch) {
                    throw std::runtime_error("guarded apply left events out");
                }
            });
        }
        return cost.of(kBatches * kBatch);
    }

    Measured bulk_round(std::size_t way) {
        Cost cost(*server_);
        for (std::uint64_t i = 0; i < kBatches; ++i) {
            ways_[way]->take(members_of(applied_ - kBatches + i + 1));
            cost.add([&] { ways_[way]->write(); });
        }
        return cost.of(kBatches * kBatch);
    }

    void check_tables() {
        const std::string expected = member_checksum(session_, "guarded");
        for (const char* table : {"by_unnest", "by_copy", "by_json"}) {
            if (member_checksum(session_, table) != expected) {
                throw std::runtime_error(fmt::format("{} holds other rows than guarded", table));
            }
        }
    }

    const std::int64_t rows_;
    SystemClock clock_;
    SystemRandom random_;
    FileLogSink sink_{2};
    Logger logger_{sink_, clock_, {LogLevel::kError, LogFormat::kText}};
    std::unique_ptr<test::PostgresServer> server_;
    const std::string url_;
    Session session_;
    std::unique_ptr<Database> database_;
    std::unique_ptr<Connection> connection_;
    ReplicaHandler handler_;
    std::vector<std::unique_ptr<BulkUpsert>> ways_;
    std::uint64_t applied_ = 0;
};

}  // namespace

void run_postgres_apply_bench(const BenchSize& size) {
    ApplyBench bench(size);
    bench.run(size.rounds.value_or(5));
}

}  // namespace instep::bench
