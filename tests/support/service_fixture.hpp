#pragma once

#include "instep/service/service.hpp"
#include "instep/telemetry/logger.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_lines.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

namespace instep::test {

using namespace std::chrono_literals;

inline constexpr std::string_view kUsers = "SELECT id || '|' || username || '|' || email FROM {}";

/// An owner "iam" with a table of users, and services that keep it as lookup_users.
class ServiceTest : public testing::Test {
protected:
    ServiceTest() {
        run_sql("iam",
                "CREATE TABLE users (id INTEGER PRIMARY KEY, username TEXT NOT NULL, email TEXT, "
                "password_hash TEXT)");
    }

    [[nodiscard]] ServiceConfig config(const std::string& name) const {
        std::string text = fmt::format(
            "[service]\nname = '{0}'\ndatabase = 'sqlite:{0}.db'\nbroker = '{1}'\n", name, broker_);
        if (const auto found = partitions_.find(name); found != partitions_.end()) {
            text += fmt::format("partitions = {}\n", found->second);
        }
        text += name == "iam" ? "[[publish]]\ntable = 'users'\nentity = 'user'\ncolumns = ['id', "
                                "'username', 'email']\n"
                              : "[[replica]]\ntopic = 'iam.user'\ntable = 'lookup_users'\n";
        return parse_service_file(text, dir_.file(name + ".toml"), process_environment()).value();
    }

    Result<std::unique_ptr<Service>> create(const std::string& name, const std::string& process) {
        brokers_->know(std::vector{config("iam")});
        return Service::create(config(name), {clock_, random_, logger_, *brokers_, process});
    }

    /// Applies the service's file and opens it.
    Service& start(const std::string& name, const std::string& process = "p1") {
        const auto applied = apply_service(config(name), clock_, {});
        EXPECT_TRUE(applied) << applied.error().message;
        auto service = create(name, process);
        EXPECT_TRUE(service) << service.error().message;
        return *(services_[name + "/" + process] = std::move(service).value());
    }

    void start_all() {
        for (const char* name : {"iam", "billing", "crm"}) {
            start(name);
        }
    }

    void stop(const std::string& name, const std::string& process = "p1") {
        services_.erase(name + "/" + process);
    }

    void stop_all() {
        services_.clear();
        brokers_ = std::make_unique<Brokers>(clock_);
    }

    /// A copy of the service's database as it is, for restore_copy(). Both restart everything,
    /// and leases of the processes before run out.
    void keep_copy(const std::string& service) { copy_while_stopped(service + ".db", "copy"); }
    void restore_copy(const std::string& service) { copy_while_stopped("copy", service + ".db"); }

    void copy_while_stopped(const std::string& from, const std::string& to) {
        stop_all();
        databases_.clear();
        std::filesystem::copy(dir_.file(from), dir_.file(to),
                              std::filesystem::copy_options::overwrite_existing);
        start_all();
        clock_.advance(60s);
    }

    std::uint64_t step() {
        std::uint64_t moved = 0;
        for (const auto& [name, service] : services_) {
            const auto done = service->run_once();
            EXPECT_TRUE(done) << name << ": " << done.error().message;
            moved += done.value_or(0);
        }
        return moved;
    }

    void settle() {
        for (int quiet = 0, rounds = 0; quiet < 3; ++rounds) {
            ASSERT_LT(rounds, 10'000) << "it never comes to rest";
            quiet = step() == 0 ? quiet + 1 : 0;
        }
    }

    std::unique_ptr<Connection> connect(const std::string& service) {
        const std::string url = "sqlite:" + dir_.file(service + ".db");
        databases_.push_back(open_database(url, clock_, MissingDatabase::kCreate).value());
        return databases_.back()->connect({.lock_patience = 60s}).value();
    }

    void run_sql(const std::string& service, std::string_view statements) {
        const auto done = connect(service)->execute_script(statements);
        ASSERT_TRUE(done) << done.error().message;
    }

    std::vector<std::string> query(const std::string& service, std::string_view sql) {
        const auto connection = connect(service);
        auto rows = connection->query(sql, {});
        EXPECT_TRUE(rows) << rows.error().message;
        std::vector<std::string> texts;
        while (rows && (*rows)->next().value()) {
            texts.emplace_back((*rows)->text(0));
        }
        return texts;
    }

    std::vector<std::string> source() {
        return query("iam", fmt::format(kUsers, "users") + " ORDER BY id");
    }

    std::vector<std::string> replica(const std::string& service) {
        return query(service, fmt::format(kUsers, "lookup_users") + " ORDER BY id");
    }

    void insert_users(int first, int last) {
        run_sql("iam",
                fmt::format("WITH RECURSIVE n(i) AS (VALUES ({}) UNION ALL SELECT i + 1 FROM n "
                            "WHERE i < {}) INSERT INTO users SELECT i, 'user' || i, i || '@x', "
                            "'secret-hash-' || i FROM n",
                            first, last));
    }

    /// Fills, changes and restarts all three; leaves 3108 users.
    void write_among_restarts() {
        insert_users(1, 3000);
        start_all();
        for (int round = 0; round < 12; ++round) {
            insert_users(3001 + round * 10, 3010 + round * 10);
            run_sql("iam", fmt::format("DELETE FROM users WHERE id = {}", round * 100 + 1));
            step();
            if (round % 2 == 1) {
                stop_all();
                start_all();
            }
        }
    }

    /// Of "billing" and "crm" with "iam".
    void expect_in_step() {
        settle();
        EXPECT_EQ(replica("billing"), source());
        EXPECT_EQ(replica("crm"), source());
    }

    FlowStatus flow(const Service& service, const std::string& name) {
        for (FlowStatus& status : service.flows()) {
            if (status.name == name) {
                return status;
            }
        }
        ADD_FAILURE() << "no flow " << name;
        return {};
    }

    std::map<std::string, int> partitions_;
    test::TempDir dir_;
    std::string broker_ = "embedded:broker.db";
    test::ManualClock clock_;
    SeededRandom random_{1};
    test::LogLines lines_;
    Logger logger_{lines_, clock_};
    std::vector<std::unique_ptr<Database>> databases_;
    std::unique_ptr<Brokers> brokers_ = std::make_unique<Brokers>(clock_);
    std::map<std::string, std::unique_ptr<Service>> services_;
};

}  // namespace instep::test
