// A subscription "test" of topic shop.order that writes what it handles, and is asked to handle it
// once more; over whatever broker.
#pragma once

#include "instep/consumer/consumer.hpp"
#include "instep/consumer/replay.hpp"
#include "instep/consumer/subscription.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace instep::test {

/// The parameter is where the consumer's database is, which is the system's owner too. Handlers add
/// to table `effects` (id, version).
class ReplayFixture : public testing::TestWithParam<Home> {
protected:
    ReplayFixture() {
        system.owner_sql(is_postgres()
                             ? "CREATE TABLE effects (number bigint GENERATED ALWAYS AS IDENTITY, "
                               "id text, version text)"
                             : "CREATE TABLE effects (number INTEGER PRIMARY KEY, id TEXT, "
                               "version TEXT)");
    }

    static bool is_postgres() { return GetParam() == Home::kPostgres; }

    /// Makes the consumer of this member.
    virtual void open(const std::string& member) = 0;

    /// For open().
    void open(Broker& broker, HandlerSet handlers, const std::string& member) {
        consumer.reset();
        handler = std::make_unique<SubscriptionHandler>("test", std::move(handlers), system.random,
                                                        system.logger);
        ConsumerOptions options;
        options.subscription = "test";
        options.topic = "shop.order";
        options.member = member;
        options.batch_events_max = 3;
        options.parked_backoff = {std::chrono::seconds(1), 2.0, std::chrono::seconds(60), 0.0};
        auto made = Consumer::create(*system.owner_database, broker, *handler, system.random,
                                     system.logger, options);
        ASSERT_TRUE(made) << made.error().message;
        consumer = std::move(*made);
    }

    /// To be called before the broker goes, which they were opened on.
    void end_consumers() {
        consumer.reset();
        crashed.clear();
    }

    /// As after a crash: the former member's time has to run out.
    void crash_and_reopen() {
        crashed.push_back(std::move(consumer));
        open(fmt::format("member {}", crashed.size()));
        let_pass(std::chrono::minutes(1));
    }

    /// A server has a clock of its own, which nobody moves: what waits for it is moved instead.
    void let_pass(std::chrono::seconds time) {
        system.clock.advance(time);
        if (is_postgres()) {
            run_sql(*system.owner, "UPDATE instep_lease SET until_us = 0");
            run_sql(*system.owner, "UPDATE instep_parked_key SET next_try_us = 0");
        }
    }

    Result<void> ask(ReplayStart start, const std::string& key = "") {
        ReplayRequest request;
        request.subscription = "test";
        request.partitions = {0};
        request.start = start;
        request.key = key;
        request.who = "ada";
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*system.owner, TransactionMode::kWrite));
        INSTEP_TRY(ask_for_replay(transaction, request));
        return transaction.commit();
    }

    /// Until nothing was done in so many steps: a request is looked for now and then only.
    void settle(int quiet_steps) {
        for (int quiet = 0; quiet < quiet_steps;) {
            const auto done = consumer->run_once();
            ASSERT_TRUE(done) << done.error().message;
            quiet = *done == 0 ? quiet + 1 : 0;
        }
    }

    /// What took effect since this was called last.
    std::vector<std::string> effects() {
        auto all = rows_of(*system.owner, "SELECT id FROM effects ORDER BY number");
        all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(seen));
        seen += all.size();
        return all;
    }

    ReplayStatus replay() { return list_replays(*system.owner, "test", 1)->front(); }

    SyncSystem system{{.owner = GetParam()}};
    std::unique_ptr<SubscriptionHandler> handler;
    std::unique_ptr<Consumer> consumer;
    std::vector<std::unique_ptr<Consumer>> crashed;
    std::size_t seen = 0;
};

}  // namespace instep::test
