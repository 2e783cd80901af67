// The benchmarks on servers. Each prints its own lines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace instep::bench {

/// How much a benchmark does, where the command line asks for another size than its own.
struct BenchSize {
    std::optional<std::int64_t> rows;
    std::optional<int> rounds;
};

/// The same as run_postgres_latency_bench(), through the broker at `url`, and what that takes
/// alone.
void measure_sync_latency(const char* name, const std::string& url, const BenchSize& size);

/// The same as run_postgres_sync_bench(), through the broker at `url`.
void measure_sync(const char* broker, const std::string& url, const BenchSize& size);

void run_redis_bench(const BenchSize& size);
void run_redis_latency_bench(const BenchSize& size);
void run_redis_sync_bench(const BenchSize& size);
void run_postgres_relay_bench(const BenchSize& size);
void run_postgres_trigger_bench(const BenchSize& size);
void run_postgres_apply_bench(const BenchSize& size);
void run_postgres_sync_bench(const BenchSize& size);
void run_postgres_latency_bench(const BenchSize& size);
void run_postgres_outbox_bench(const BenchSize& size);
void run_postgres_backfill_bench(const BenchSize& size);
void run_postgres_verify_bench(const BenchSize& size);
void run_postgres_wal_bench(const BenchSize& size);
void run_rabbitmq_bench(const BenchSize& size);
void run_rabbitmq_latency_bench(const BenchSize& size);
void run_rabbitmq_sync_bench(const BenchSize& size);
void run_postgres_long_bench(const BenchSize& size);
void run_kafka_bench(const BenchSize& size);
void run_kafka_latency_bench(const BenchSize& size);
void run_kafka_sync_bench(const BenchSize& size);

}  // namespace instep::bench
