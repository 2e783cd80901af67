// Replicas of several tables that take in whole transactions, step by step.
#include "instep/replica/replica_group.hpp"

#include "instep/db/schema.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>

namespace instep {
namespace {

using namespace std::chrono_literals;
using test::Home;
using test::rows_of;
using test::run_sql;
using test::SyncSystem;
using test::value_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Homes {
    std::string name;
    Home owner;
    Home replicas;
    CaptureBy capture = CaptureBy::kTriggers;
};

void PrintTo(const Homes& homes, std::ostream* out) { *out << homes.name; }

constexpr std::string_view kOrders = "SELECT id, number, total FROM orders ORDER BY id";
constexpr std::string_view kLines = "SELECT id, order_id, amount FROM lines ORDER BY id";

/// Rows that no transaction of the owner ever left behind.
constexpr std::string_view kHalfTold =
    "SELECT (SELECT count(*) FROM orders o WHERE o.total <> (SELECT coalesce(sum(l.amount), 0) "
    "  FROM lines l WHERE l.order_id = o.id)) + (SELECT count(*) FROM lines l "
    "  WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = l.order_id))";

class ReplicaGroup : public testing::TestWithParam<Homes> {
protected:
    explicit ReplicaGroup(std::vector<std::string> transactions = {"order", "line"})
        : system(options(std::move(transactions))) {
        system.owner_sql(
            "CREATE TABLE orders (id INTEGER NOT NULL PRIMARY KEY, number INTEGER, total INTEGER "
            "NOT NULL);"
            "CREATE TABLE lines (id INTEGER NOT NULL PRIMARY KEY, order_id INTEGER NOT NULL "
            "REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED, amount INTEGER NOT NULL)");
        system.publish(entries());
    }

    static std::vector<PublishEntry> entries() {
        return {{"orders", "order", {"id"}, {"id", "number", "total"}, {}},
                {"lines", "line", {"id"}, {"id", "order_id", "amount"}, {}}};
    }

    static SyncSystem::Options options(std::vector<std::string> transactions) {
        SyncSystem::Options options;
        options.owner = GetParam().owner;
        options.replicas = GetParam().replicas;
        options.capture = GetParam().capture;
        options.scan.chunk_rows_max = 7;
        options.scan.digest_rows = 5;
        options.scan.transactions = std::move(transactions);
        options.batch_events_max = 4;
        return options;
    }

    /// Tables as an application makes them for itself, before it follows anybody. Lines first, so
    /// that the order of the definitions is of no help.
    void given_group(std::string_view more_of_orders = "", std::string_view more_of_key = "") {
        database_ = system.make_database("crm");
        sql = std::move(*database_->connect());
        ASSERT_TRUE(migrate(*sql, service_migrations(sql->dialect())));
        run_sql(*sql, fmt::format("CREATE TABLE orders (id INTEGER NOT NULL PRIMARY KEY, number "
                                  "INTEGER, total INTEGER NOT NULL{});"
                                  "CREATE TABLE lines (id INTEGER NOT NULL PRIMARY KEY, order_id "
                                  "INTEGER NOT NULL REFERENCES orders (id){}, amount INTEGER "
                                  "NOT NULL)",
                                  more_of_orders, more_of_key));
        for (const auto& [entity, table] :
             {std::pair("iam.line", "lines"), std::pair("iam.order", "orders")}) {
            definitions.push_back({"crm", entity, table, {}, ApplyUnit::kTransaction});
            run_changes(plan_replica(*sql, definitions.back(), nullptr).value());
        }
        restart_consumer();
        RelayOptions relay;
        relay.service = "crm";
        relay.owner = "crm-1";
        relay_ =
            std::move(*Relay::create(*database_, *system.broker, nullptr, system.logger, relay));
        in_transaction([&](Transaction& transaction) {
            return ensure_group_filled(transaction, definitions, system.random);
        });
    }

    void run_changes(const std::vector<SchemaChange>& changes) {
        in_transaction(
            [&](Transaction& transaction) { return instep::run_changes(transaction, changes); });
    }

    template <class Work>
    void in_transaction(Work work) {
        Transaction transaction = *Transaction::begin(*sql, TransactionMode::kWrite);
        const auto done = work(transaction);
        ASSERT_TRUE(done) << done.error().message;
        ASSERT_TRUE(transaction.commit());
    }

    /// As after a crash.
    void restart_consumer() {
        handler_ = std::make_unique<ReplicaGroupHandler>(definitions, system.random, system.logger);
        ConsumerOptions options;
        options.subscription = "crm.iam.transactions";
        options.topic = "iam.transactions";
        options.member = "crm-1";
        options.start_at = StartAt::kLatest;
        options.unit = ApplyUnit::kTransaction;
        options.batch_events_max = 4;
        options.transaction_events_max = events_held_max;
        consumer_.reset();
        consumer_ = std::move(*Consumer::create(*database_, *system.broker, *handler_,
                                                system.random, system.logger, options));
    }

    /// Every loop once; what an application that looks in between sees is whole.
    std::uint64_t step() {
        std::uint64_t moved = system.step() + relay_->run_once().value_or(0);
        const auto applied = consumer_->run_once();
        if (applied) {
            moved += *applied;
        } else {
            refusals.push_back(applied.error().message);
        }
        if (is_watched && is_live()) {
            EXPECT_EQ(value_of(*sql, kHalfTold), "0");
        }
        return moved;
    }

    void settle() {
        for (int quiet = 0, steps = 0; quiet < 3 && steps < 10'000; ++steps) {
            const bool more_comes = system.is_server_sending();
            quiet = step() == 0 && !more_comes ? quiet + 1 : 0;
        }
    }

    bool is_live() {
        return value_of(*sql, "SELECT count(*) FROM instep_replica WHERE state = 'live'") == "2";
    }

    void given_orders(int first, int last) {
        for (int id = first; id <= last; ++id) {
            system.owner_sql(
                fmt::format("BEGIN; INSERT INTO orders VALUES ({0}, {0}, 30);"
                            "INSERT INTO lines VALUES ({0}1, {0}, 10), ({0}2, {0}, 20); COMMIT",
                            id));
        }
    }

    void expect_equal() {
        EXPECT_EQ(rows_of(*sql, kOrders), rows_of(*system.owner, kOrders));
        EXPECT_EQ(rows_of(*sql, kLines), rows_of(*system.owner, kLines));
    }

    VerificationStatus verify(std::size_t place, VerificationPurpose purpose) {
        std::string id;
        in_transaction([&](Transaction& transaction) -> Result<void> {
            INSTEP_TRY_ASSIGN(
                id, request_verification(transaction, definitions[place], purpose, system.random));
            return {};
        });
        settle();
        return *read_verification(*sql, id);
    }

    static constexpr std::size_t kLinesPlace = 0;
    static constexpr std::size_t kOrdersPlace = 1;

    SyncSystem system;

    /// Every look must find whole transactions only.
    bool is_watched = true;
    std::uint32_t events_held_max = 50'000;
    std::vector<ReplicaDefinition> definitions;
    std::unique_ptr<Connection> sql;
    std::vector<std::string> refusals;

private:
    std::unique_ptr<Database> database_;
    std::unique_ptr<ReplicaGroupHandler> handler_;
    std::unique_ptr<Consumer> consumer_;
    std::unique_ptr<Relay> relay_;
};

TEST_P(ReplicaGroup, IsFilledTableByTableWhileWritersGoOn) {
    given_orders(1, 40);
    given_group();
    for (int id = 41; id <= 60; ++id) {
        given_orders(id, id);
        system.owner_sql(
            fmt::format("BEGIN; DELETE FROM lines WHERE order_id = {0}; DELETE FROM "
                        "orders WHERE id = {0}; COMMIT",
                        id - 40));
        step();
        EXPECT_EQ(value_of(*sql,
                           "SELECT count(*) FROM lines l WHERE NOT EXISTS (SELECT 1 FROM "
                           "orders o WHERE o.id = l.order_id)"),
                  "0");
    }
    settle();
    EXPECT_TRUE(is_live());
    EXPECT_THAT(refusals, IsEmpty());
    EXPECT_THAT(rows_of(*sql, "SELECT key FROM instep_parked_key"), IsEmpty());
    expect_equal();
}

TEST_P(ReplicaGroup, ShowsTransactionsThatSpanBatchesAsAWhole) {
    given_group();
    settle();
    ASSERT_TRUE(is_live());
    system.owner_sql(
        "BEGIN; INSERT INTO orders VALUES (1, 1, 45), (2, 2, 10);"
        "INSERT INTO lines VALUES (1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 1, 4), (5, 1, 5), (6, 1, "
        "6), (7, 1, 7), (8, 1, 8), (9, 1, 9), (10, 2, 10); COMMIT");
    for (int i = 0; i < 8; ++i) {
        step();
        EXPECT_THAT(value_of(*sql, "SELECT count(*) FROM lines"), testing::AnyOf("0", "10"));
    }
    settle();
    expect_equal();
    system.owner_sql(
        "BEGIN; UPDATE lines SET order_id = 2 WHERE order_id = 1; UPDATE orders SET total = 55 "
        "WHERE id = 2; DELETE FROM orders WHERE id = 1; COMMIT");
    settle();
    expect_equal();
    system.owner_sql("BEGIN; DELETE FROM lines; DELETE FROM orders; COMMIT");
    settle();
    expect_equal();
    EXPECT_THAT(refusals, IsEmpty());
}

TEST_P(ReplicaGroup, GoesOnWhereARelayOrAConsumerStoppedInTheMiddle) {
    given_group();
    settle();
    for (int round = 0; round < 6; ++round) {
        given_orders(round * 10 + 1, round * 10 + 9);
        system.owner_sql(fmt::format(
            "BEGIN; UPDATE lines SET amount = amount + 1; UPDATE orders SET total = total + 2; "
            "COMMIT"));
        for (int i = 0; i < 12; ++i) {
            step();
            if (i % 3 == 1) {
                system.restart_relay();
            }
            if (i % 3 == 2) {
                restart_consumer();
            }
        }
    }
    settle();
    expect_equal();
    EXPECT_THAT(refusals, IsEmpty());
}

TEST_P(ReplicaGroup, AppliesInPartsWhatIsTooLargeToHold) {
    events_held_max = 6;
    given_group();
    settle();
    given_orders(1, 20);
    settle();
    system.owner_sql(
        "BEGIN; UPDATE lines SET amount = amount + 1; UPDATE orders SET total = total + 2; COMMIT");
    given_orders(21, 21);
    settle();
    expect_equal();
    EXPECT_THAT(refusals, IsEmpty());
    EXPECT_EQ(verify(kLinesPlace, VerificationPurpose::kVerify).differences, 0U);
}

TEST_P(ReplicaGroup, DefersForeignKeysFromPartToPart) {
    events_held_max = 6;
    given_group("", " DEFERRABLE");
    settle();
    system.owner_sql(
        "BEGIN; INSERT INTO lines VALUES (1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 1, 4), (5, 1, 5), "
        "(6, 1, 6), (7, 1, 7), (8, 1, 8), (9, 1, 9); INSERT INTO orders VALUES (1, 1, 45); COMMIT");
    settle();
    expect_equal();
    EXPECT_THAT(refusals, IsEmpty());
}

TEST_P(ReplicaGroup, StopsBeforeATransactionThatIsRefusedAndGoesOnWhenItIsTaken) {
    const bool on_server = GetParam().replicas == Home::kPostgres;
    given_group();
    settle();
    run_sql(*sql, on_server ? "ALTER TABLE lines ADD CONSTRAINT small CHECK (amount < 1000)"
                            : "CREATE TRIGGER small BEFORE INSERT ON lines WHEN NEW.amount >= 1000 "
                              "BEGIN SELECT RAISE(ABORT, 'too large'); END");
    given_orders(1, 1);
    system.owner_sql(
        "BEGIN; INSERT INTO orders VALUES (2, 2, 5000); INSERT INTO lines VALUES (21, 2, 5000); "
        "COMMIT");
    settle();
    given_orders(3, 4);
    settle();
    ASSERT_FALSE(refusals.empty());
    EXPECT_THAT(refusals.back(), HasSubstr("crm.iam.transactions stands before a transaction"));
    EXPECT_THAT(refusals.back(), HasSubstr("replica lines"));
    EXPECT_THAT(rows_of(*sql, "SELECT id FROM orders WHERE id > 1"), IsEmpty());
    EXPECT_THAT(rows_of(*sql, "SELECT key FROM instep_parked_key"), IsEmpty());

    run_sql(*sql, on_server ? "ALTER TABLE lines DROP CONSTRAINT small" : "DROP TRIGGER small");
    settle();
    expect_equal();
}

TEST_P(ReplicaGroup, TakesRowsThatOnlyTheOwnersOrderMakesRoomFor) {
    given_group(", UNIQUE (number)");
    settle();
    given_orders(1, 1);
    system.owner_sql("INSERT INTO orders VALUES (7, 7, 0)");
    settle();
    system.owner_sql(
        "BEGIN; DELETE FROM orders WHERE id = 7; INSERT INTO orders VALUES (5, 7, 0); "
        "COMMIT");
    settle();
    expect_equal();
    EXPECT_THAT(refusals, IsEmpty());
}

TEST_P(ReplicaGroup, KeepsForeignKeysWhateverTheOrderWithinATransaction) {
    given_group();
    settle();
    system.owner_sql(
        "BEGIN; INSERT INTO lines VALUES (1, 1, 5); INSERT INTO orders VALUES (1, 1, 5); COMMIT");
    settle();
    expect_equal();
    system.owner_sql(
        "BEGIN; DELETE FROM orders; DELETE FROM lines; INSERT INTO lines VALUES (2, 2, 6);"
        "INSERT INTO orders VALUES (2, 2, 6); COMMIT");
    settle();
    expect_equal();
    EXPECT_THAT(refusals, IsEmpty());
}

TEST_P(ReplicaGroup, IsVerifiedAndRepairedTableByTable) {
    given_orders(1, 9);
    given_group();
    settle();
    EXPECT_EQ(verify(kLinesPlace, VerificationPurpose::kVerify).differences, 0U);
    EXPECT_EQ(verify(kOrdersPlace, VerificationPurpose::kVerify).differences, 0U);

    is_watched = false;
    run_sql(*sql,
            "DELETE FROM lines WHERE order_id = 3; DELETE FROM orders WHERE id = 3;"
            "UPDATE lines SET amount = 11 WHERE id = 41");
    verify(kLinesPlace, VerificationPurpose::kRepair);
    // The lines that come back have no order yet: they wait, and what else is going on does not.
    EXPECT_FALSE(rows_of(*sql, "SELECT key FROM instep_parked_key").empty());
    given_orders(10, 10);
    settle();
    EXPECT_EQ(value_of(*sql, "SELECT total FROM orders WHERE id = 10"), "30");

    EXPECT_EQ(verify(kOrdersPlace, VerificationPurpose::kRepair).repaired, 1U);
    EXPECT_TRUE(test::eventually([&] {
        system.clock.advance(60s);
        settle();
        return rows_of(*sql, "SELECT key FROM instep_parked_key").empty();
    }));
    expect_equal();
    EXPECT_THAT(refusals, IsEmpty());
}

TEST_P(ReplicaGroup, IsFilledAgainAfterItsSourceWasRestored) {
    given_orders(1, 9);
    given_group();
    settle();
    is_watched = false;
    // The source lost an order and what belongs to it, and nobody was told.
    system.publish({});
    system.owner_sql("DELETE FROM lines WHERE order_id = 3; DELETE FROM orders WHERE id = 3");
    given_orders(11, 11);
    system.publish(entries());
    Transaction transaction = *Transaction::begin(*system.owner, TransactionMode::kWrite);
    ASSERT_TRUE(begin_epoch(transaction, 0));
    const std::vector<std::string> topics = {"iam.transactions"};
    ASSERT_TRUE(announce_epoch(transaction, "iam", topics));
    ASSERT_TRUE(transaction.commit());
    EXPECT_TRUE(test::eventually([&] {
        system.clock.advance(60s);
        settle();
        return is_live() && rows_of(*sql, "SELECT key FROM instep_parked_key").empty();
    }));
    is_watched = true;
    settle();
    expect_equal();
}

class RefusedGroup : public ReplicaGroup {
protected:
    RefusedGroup() : ReplicaGroup({}) {}
};

TEST_P(RefusedGroup, SaysWhatTheOwnersFileLacks) {
    given_orders(1, 1);
    given_group();
    settle();
    EXPECT_THAT(rows_of(*sql,
                        "SELECT table_name, state, problem FROM instep_replica "
                        "WHERE state <> 'new'"),
                ElementsAre("orders|refused|entity order is not among `transactions` in the "
                            "service file of iam"));
}

const Homes kSqliteOnly{"SqliteToSqlite", Home::kSqlite, Home::kSqlite};

INSTANTIATE_TEST_SUITE_P(
    , ReplicaGroup,
    testing::Values(kSqliteOnly, Homes{"SqliteToPostgres", Home::kSqlite, Home::kPostgres},
                    Homes{"PostgresToSqlite", Home::kPostgres, Home::kSqlite},
                    Homes{"PostgresToPostgres", Home::kPostgres, Home::kPostgres},
                    Homes{"WalToPostgres", Home::kPostgres, Home::kPostgres, CaptureBy::kWal}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(, RefusedGroup, testing::Values(kSqliteOnly),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace instep
