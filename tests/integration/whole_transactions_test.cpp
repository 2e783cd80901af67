// Orders and their lines in another service's database, under the real program: writers go on,
// processes are killed, and whoever looks at the replica must find what one look at the owner
// could have found.
#include "instep/db/dialect.hpp"
#include "instep/service/service.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/postgres_database.hpp"
#include "tests/support/process.hpp"
#include "tests/support/sync_system.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <iostream>
#include <semaphore>
#include <thread>

namespace instep::test {
namespace {

using std::chrono::milliseconds;

constexpr int kWriters = 3;
constexpr int kOrdersMax = 40;
constexpr int kLooksAWrite = 5;

/// An order's total is that of its lines at every commit of the owner, and no line is without
/// its order.
constexpr std::string_view kHalfTold =
    "SELECT (SELECT count(*) FROM orders o WHERE o.total <> (SELECT coalesce(sum(l.amount), 0) "
    "  FROM lines l WHERE l.order_id = o.id)) + (SELECT count(*) FROM lines l "
    "  WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = l.order_id)), "
    "(SELECT coalesce(sum(total), 0) FROM orders)";

struct Course {
    std::string name;
    Home owner;
    Home replica;
    std::string_view apply = "transaction";
};

void PrintTo(const Course& course, std::ostream* out) { *out << course.name; }

/// One application that works on orders: makes and removes them with their lines, moves lines
/// between them, and changes amounts.
class Writer {
public:
    Writer(std::unique_ptr<Connection> connection, std::uint64_t seed, std::atomic<int>& line_ids)
        : connection_(std::move(connection)), random_(seed), line_ids_(line_ids) {}

    /// One transaction. Errors: those of Connection; it is rolled back then.
    Result<void> write() {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        const std::int64_t a = number_below(kOrdersMax);
        const std::int64_t b = number_below(kOrdersMax);
        INSTEP_TRY_ASSIGN(const auto standing, lock_orders(transaction, a, b));
        const auto stands = [&](std::int64_t id) {
            return std::ranges::find(standing, id) != standing.end();
        };
        if (!stands(a)) {
            INSTEP_TRY(make_order(transaction, a));
        } else if (a != b && stands(b) && number_below(2) == 0) {
            INSTEP_TRY(move_lines(transaction, a, b));
        } else if (number_below(2) == 0) {
            INSTEP_TRY(remove_order(transaction, a));
        } else {
            INSTEP_TRY(change_amounts(transaction, a));
        }
        return transaction.commit();
    }

private:
    std::int64_t number_below(std::uint64_t end) {
        return static_cast<std::int64_t>(random_.next() % end);
    }

    static Result<std::vector<std::int64_t>> lock_orders(Transaction& transaction, std::int64_t a,
                                                         std::int64_t b) {
        INSTEP_TRY_ASSIGN(
            auto rows, transaction.query(
                           fmt::format("SELECT id FROM orders WHERE id IN ($1, $2) ORDER BY id{}",
                                       transaction.dialect().row_lock(RowLock::kExclusive)),
                           {a, b}));
        std::vector<std::int64_t> ids;
        for (;;) {
            INSTEP_TRY_ASSIGN(const bool more, rows->next());
            if (!more) {
                return ids;
            }
            ids.push_back(rows->integer(0));
        }
    }

    Result<void> make_order(Transaction& transaction, std::int64_t id) {
        INSTEP_TRY_ASSIGN(
            const std::int64_t made,
            transaction.execute("INSERT INTO orders VALUES ($1, 0) ON CONFLICT DO NOTHING", {id}));
        if (made == 0) {
            // Another was faster, and holds it.
            return {};
        }
        const std::int64_t lines = number_below(6);
        for (std::int64_t i = 0; i < lines; ++i) {
            INSTEP_TRY(transaction.execute("INSERT INTO lines VALUES ($1, $2, $3)",
                                           {std::int64_t{++line_ids_}, id, number_below(100)}));
        }
        return add_up(transaction, id);
    }

    static Result<void> move_lines(Transaction& transaction, std::int64_t from, std::int64_t to) {
        INSTEP_TRY(transaction.execute(
            "UPDATE lines SET order_id = $1 WHERE order_id = $2 AND id % 2 = 0", {to, from}));
        INSTEP_TRY(add_up(transaction, to));
        return add_up(transaction, from);
    }

    static Result<void> remove_order(Transaction& transaction, std::int64_t id) {
        INSTEP_TRY(transaction.execute("DELETE FROM lines WHERE order_id = $1", {id}));
        INSTEP_TRY(transaction.execute("DELETE FROM orders WHERE id = $1", {id}));
        return {};
    }

    Result<void> change_amounts(Transaction& transaction, std::int64_t id) {
        INSTEP_TRY(transaction.execute("UPDATE lines SET amount = amount + $1 WHERE order_id = $2",
                                       {number_below(10), id}));
        return add_up(transaction, id);
    }

    static Result<void> add_up(Transaction& transaction, std::int64_t id) {
        INSTEP_TRY(
            transaction.execute("UPDATE orders SET total = (SELECT coalesce(sum(amount), 0) "
                                "FROM lines WHERE order_id = $1) WHERE id = $1",
                                {id}));
        return {};
    }

    std::unique_ptr<Connection> connection_;
    SeededRandom random_;
    std::atomic<int>& line_ids_;
};

class WholeTransactions : public testing::TestWithParam<Course> {
protected:
    WholeTransactions() {
        owner_url_ = make_database(GetParam().owner, "shop");
        replica_url_ = make_database(GetParam().replica, "crm");
        owner_ = std::move(*open_database(owner_url_, clock_, MissingDatabase::kCreate));
        replica_ = std::move(*open_database(replica_url_, clock_, MissingDatabase::kCreate));
        // Immediate: not deferrable. Where keys are applied one by one, it would park most of them.
        const bool holds_keys = GetParam().apply == "transaction";
        for (Database* database : {owner_.get(), replica_.get()}) {
            run_sql(**database->connect(),
                    fmt::format(
                        "CREATE TABLE orders (id INTEGER NOT NULL PRIMARY KEY, total "
                        "INTEGER NOT NULL);"
                        "CREATE TABLE lines (id INTEGER NOT NULL PRIMARY KEY, order_id "
                        "INTEGER NOT NULL {}, amount INTEGER NOT NULL)",
                        database == owner_.get() || holds_keys ? "REFERENCES orders (id)" : ""));
        }
        write_files("embedded:" + folder_.file("broker.db"));
    }

    ~WholeTransactions() override { stop_writers(); }

    std::string make_database(Home home, const std::string& name) {
        if (home == Home::kSqlite) {
            return "sqlite:" + folder_.file(name + ".db");
        }
        servers_.push_back(std::make_unique<PostgresDatabase>());
        return servers_.back()->url();
    }

    void write_files(const std::string& broker) {
        std::ofstream(folder_.file("shop.toml")) << fmt::format(
            "[service]\nname = \"shop\"\ndatabase = \"{}\"\nbroker = \"{}\""
            "\ntransactions = [\"order\", \"line\"]\n"
            "[[publish]]\ntable = \"orders\"\nentity = \"order\"\n"
            "columns = [\"id\", \"total\"]\n"
            "[[publish]]\ntable = \"lines\"\nentity = \"line\"\n"
            "columns = [\"id\", \"order_id\", \"amount\"]\n",
            owner_url_, broker);
        std::ofstream(folder_.file("crm.toml")) << fmt::format(
            "[service]\nname = \"crm\"\ndatabase = \"{}\"\nbroker = \"{}\"\n"
            "[[replica]]\ntopic = \"shop.line\"\ntable = \"lines\"\napply = \"{}\"\n"
            "[[replica]]\ntopic = \"shop.order\"\ntable = \"orders\"\napply = \"{}\""
            "\n",
            replica_url_, broker, GetParam().apply, GetParam().apply);
    }

    [[nodiscard]] ProcessOptions options(std::vector<std::string> words) const {
        ProcessOptions options;
        options.arguments = std::move(words);
        options.directory = folder_.path();
        return options;
    }

    void expect_done(std::vector<std::string> words) const {
        Process process(INSTEP_PROGRAM, options(std::move(words)));
        const Finished finished = process.wait();
        EXPECT_EQ(finished.exit, 0) << finished.out << finished.err;
    }

    void start(const std::string& service) {
        auto& process = processes_[service];
        process = std::make_unique<Process>(INSTEP_PROGRAM, options({"run", service + ".toml"}));
        ASSERT_TRUE(process->prints("ready"));
    }

    void kill(const std::string& service) {
        processes_.at(service)->signal(SIGKILL);
        processes_.at(service)->wait();
    }

    void given_running_services() {
        expect_done({"apply", "shop.toml", "crm.toml"});
        start("shop");
        start("crm");
        expect_caught_up();
    }

    void expect_caught_up() const {
        expect_done({"wait", "shop.toml", "crm.toml", "--caught-up", "--timeout", "2m"});
    }

    void expect_more_states() const {
        const int states = states_;
        EXPECT_TRUE(eventually([&] { return states_ > states + 20; }));
    }

    /// The backfills that were asked for; a change that was lost hides behind one.
    [[nodiscard]] std::vector<std::string> backfills() const {
        return rows_of(**replica_->connect(),
                       "SELECT table_name, state, backfill FROM instep_replica ORDER BY 1");
    }

    /// The writers end; nothing is missing, and nobody saw half of anything.
    void expect_nothing_lost_and_all_whole() {
        writers_.clear();
        expect_caught_up();
        reader_ = {};
        EXPECT_EQ(half_told_, 0);
        expect_done({"verify", "shop.toml", "crm.toml"});
        const auto owner = std::move(*owner_->connect());
        const auto replica = std::move(*replica_->connect());
        for (const std::string_view sql : {"SELECT id, total FROM orders ORDER BY id",
                                           "SELECT id, order_id, amount FROM lines ORDER BY id"}) {
            EXPECT_EQ(rows_of(*replica, sql), rows_of(*owner, sql));
        }
        std::cout << fmt::format("{} transactions, {} looks, {} states\n", written_.load(),
                                 looks_.load(), states_.load());
    }

    void start_writers() {
        for (int i = 0; i < kWriters; ++i) {
            writers_.emplace_back([this, i](const std::stop_token& stop) {
                Writer writer(std::move(*owner_->connect()), static_cast<std::uint64_t>(i) + 7,
                              line_ids_);
                while (!stop.stop_requested()) {
                    // Another may have been faster.
                    if (permits_.try_acquire_for(milliseconds(10)) && writer.write()) {
                        ++written_;
                    }
                }
            });
        }
    }

    void start_reader() {
        reader_ = std::jthread([this](const std::stop_token& stop) {
            const auto connection = std::move(*replica_->connect());
            std::string last;
            while (!stop.stop_requested()) {
                const std::string found = value_of(*connection, kHalfTold);
                if (++looks_ % kLooksAWrite == 0) {
                    permits_.release();
                }
                half_told_ += found.starts_with("0|") ? 0 : 1;
                states_ += found != last ? 1 : 0;
                last = found;
            }
        });
    }

    void stop_writers() {
        writers_.clear();
        reader_ = {};
    }

    TempDir folder_;
    SystemClock clock_;
    std::vector<std::unique_ptr<PostgresDatabase>> servers_;
    std::string owner_url_;
    std::string replica_url_;
    std::unique_ptr<Database> owner_;
    std::unique_ptr<Database> replica_;
    std::map<std::string, std::unique_ptr<Process>> processes_;

    /// Writers go on as fast as somebody looks, not as fast as the disk allows.
    std::counting_semaphore<> permits_{200};
    std::atomic<int> line_ids_ = 0;
    std::atomic<int> written_ = 0;
    std::atomic<int> looks_ = 0;
    std::atomic<int> states_ = 0;
    std::atomic<int> half_told_ = 0;
    std::vector<std::jthread> writers_;
    std::jthread reader_;
};

TEST_P(WholeTransactions, AreSeenWholeWhateverIsKilled) {
    start_writers();
    given_running_services();
    start_reader();
    const std::vector<std::string> both = {"crm", "shop"};
    for (const auto& victims : {std::vector<std::string>{"crm"}, {"shop"}, both}) {
        expect_more_states();
        std::ranges::for_each(victims, [&](const auto& victim) { kill(victim); });
        const int written = written_;
        EXPECT_TRUE(eventually([&] { return written_ > written + 50; }));
        std::ranges::for_each(victims, [&](const auto& victim) { start(victim); });
    }
    expect_more_states();
    expect_nothing_lost_and_all_whole();
}

TEST_P(WholeTransactions, AreSeenWholeWhileTheyMoveToAnotherBroker) {
    const std::string new_broker = "embedded:" + folder_.file("new.db");
    start_writers();
    given_running_services();
    const auto filled = backfills();
    start_reader();
    expect_more_states();
    expect_done({"migrate-broker", "shop.toml", "crm.toml", "--to", new_broker, "--timeout", "2m"});
    expect_more_states();

    // The files name the new broker from now on.
    write_files(new_broker);
    for (const std::string service : {"shop", "crm"}) {
        kill(service);
        start(service);
    }
    expect_more_states();
    expect_nothing_lost_and_all_whole();
    EXPECT_EQ(backfills(), filled);
    EXPECT_THAT(filled, testing::Each(testing::HasSubstr("|live|")));
}

INSTANTIATE_TEST_SUITE_P(, WholeTransactions,
                         testing::Values(Course{"SqliteToSqlite", Home::kSqlite, Home::kSqlite},
                                         Course{"SqliteToPostgres", Home::kSqlite, Home::kPostgres},
                                         Course{"PostgresToSqlite", Home::kPostgres, Home::kSqlite},
                                         Course{"PostgresToPostgres", Home::kPostgres,
                                                Home::kPostgres}),
                         [](const auto& test) { return test.param.name; });

/// What the others would find if transactions came in pieces.
class KeyByKey : public WholeTransactions {};

TEST_P(KeyByKey, TransactionsAreSeenHalfTold) {
    start_writers();
    given_running_services();
    start_reader();
    EXPECT_TRUE(eventually([&] { return half_told_ > 0; }));
}

INSTANTIATE_TEST_SUITE_P(
    , KeyByKey,
    testing::Values(Course{"SqliteToSqlite", Home::kSqlite, Home::kSqlite, "key"},
                    Course{"PostgresToPostgres", Home::kPostgres, Home::kPostgres, "key"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace instep::test
