#include "instep/broker/embedded/broker.hpp"
#include "instep/db/sqlite/database.hpp"
#include "tests/conformance/broker_conformance.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temp_dir.hpp"

namespace instep::test {

namespace {

using namespace std::chrono_literals;

class EmbeddedBackend final : public BrokerBackend {
public:
    std::unique_ptr<Broker> connect() override {
        databases_.push_back(open_sqlite(dir_.file("broker.db"), clock_).value());
        return open_embedded_broker(*databases_.back(), clock_).value();
    }

    std::string own_name(std::string_view name) override { return std::string(name); }
    Timestamp now() override { return clock_.now(); }
    void let_pass(std::chrono::milliseconds time) override { clock_.advance(time); }
    std::chrono::milliseconds member_timeout() override { return 1s; }
    std::chrono::milliseconds quiet_time() override { return 0ms; }

    void publish_junk(std::string_view topic, std::uint32_t partition,
                      std::string_view bytes) override {
        const auto database = open_sqlite(dir_.file("broker.db"), clock_).value();
        const auto connection = database->connect().value();
        auto transaction = Transaction::begin(*connection, TransactionMode::kWrite).value();
        transaction
            .execute(
                "INSERT INTO instep_message SELECT (id << 40) + next_offset, 0, '', '', '', "
                "'', 0, x'00', 0, 0, '', 0, '', '', '', '', '', NULL, $3 FROM instep_slot "
                "WHERE topic = $1 AND partition = $2",
                {topic, std::int64_t{partition}, BlobView{bytes}})
            .value();
        transaction
            .execute(
                "UPDATE instep_slot SET next_offset = next_offset + 1 "
                "WHERE topic = $1 AND partition = $2",
                {topic, std::int64_t{partition}})
            .value();
        transaction.commit().value();
    }

private:
    TempDir dir_;
    ManualClock clock_;
    std::vector<std::unique_ptr<Database>> databases_;
};

std::unique_ptr<BrokerBackend> make_embedded_backend() {
    return std::make_unique<EmbeddedBackend>();
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Embedded, BrokerConformance,
                         ::testing::Values(BrokerCase{"embedded", &make_embedded_backend}),
                         [](const auto& backend) { return backend.param.name; });
INSTANTIATE_TEST_SUITE_P(Embedded, BrokerReplays,
                         ::testing::Values(BrokerCase{"embedded", &make_embedded_backend}),
                         [](const auto& backend) { return backend.param.name; });

}  // namespace instep::test
