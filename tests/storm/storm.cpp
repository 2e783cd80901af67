#include "tests/storm/storm.hpp"

#include "instep/base/random.hpp"
#include "instep/db/schema.hpp"
#include "instep/db/sqlite/database.hpp"
#include "tests/storm/broker_servers.hpp"
#include "tests/storm/lists.hpp"
#include "tests/storm/worker.hpp"
#include "tests/storm/writers.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/log_reading.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>

#include <array>
#include <csignal>
#include <functional>
#include <tuple>
#include <vector>

namespace instep::storm {

namespace {

using namespace std::chrono_literals;
using test::expect_value;

/// Between two harms, at most.
constexpr std::uint64_t kCalmMsMax = 400;
constexpr std::uint64_t kStallMsMax = 1500;

constexpr std::uint64_t kCountEveryMs = 100;

/// Of what a process said.
constexpr std::size_t kSaidMax = 4000;

constexpr const char* kRelayKilled = "relay killed";
constexpr const char* kConsumerKilled = "consumer killed";

constexpr std::string_view kListsTable =
    "CREATE TABLE lists (key TEXT PRIMARY KEY, length BIGINT NOT NULL)";
constexpr std::string_view kEffectsTable =
    "CREATE TABLE effects (place INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, number BIGINT)";

std::uint64_t count_events(const Lists& lists) {
    std::int64_t events = 0;
    for (const auto& [key, length] : lists) {
        events += length;
    }
    return static_cast<std::uint64_t>(events);
}

/// One subscription with a database of its own.
struct Ledger {
    std::string name;
    int members;
    std::unique_ptr<Database> database{};
    std::unique_ptr<Connection> connection{};
};

/// A process that is started again whenever it was killed.
struct Worker {
    WorkerOptions options;
    std::unique_ptr<test::Process> process{};
};

class Storm {
public:
    Storm(const StormOptions& options, std::string program)
        : options_(options),
          program_(std::move(program)),
          random_(options.seed),
          server_(start_broker_server(options.broker)),
          broker_url_(server_ == nullptr ? "embedded:" + folder_.file("broker.db")
                                         : server_->url()) {
        prepare_owner();
        for (Ledger& ledger : ledgers_) {
            prepare(ledger);
        }
    }

    StormResult run() {
        if (!start_workers()) {
            result_.problem = "a process did not get ready: " + complaints();
            return result_;
        }
        Writers writers(*owner_database_, options_);
        const auto end = std::chrono::steady_clock::now() + options_.time;
        while (std::chrono::steady_clock::now() < end || !has_killed_of_each()) {
            pause(random_.below(kCalmMsMax));
            start_those_that_ended();
            if (!options_.calm) {
                do_harm();
            }
        }
        writers.stop();
        heal();
        return result_;
    }

private:
    void prepare_owner() {
        owner_database_ = expect_value(open_sqlite(folder_.file("owner.db"), clock_));
        owner_ = expect_value(owner_database_->connect());
        expect_value(migrate(*owner_, service_migrations(owner_->dialect())));
        expect_value(owner_->execute_script(kListsTable));
        for (std::uint32_t key = 0; key < options_.keys; ++key) {
            expect_value(owner_->execute_script(
                fmt::format("INSERT INTO lists VALUES ('list-{}', 0)", key)));
        }
        for (int index = 0; index < 2; ++index) {
            workers_.push_back({{Role::kRelay,
                                 "sqlite:" + folder_.file("owner.db"),
                                 broker_url_,
                                 {},
                                 fmt::format("relay-{}", index)}});
        }
    }

    void prepare(Ledger& ledger) {
        const std::string file = folder_.file(ledger.name + ".db");
        ledger.database = expect_value(open_sqlite(file, clock_));
        ledger.connection = expect_value(ledger.database->connect());
        expect_value(migrate(*ledger.connection, service_migrations(ledger.connection->dialect())));
        expect_value(ledger.connection->execute_script(kEffectsTable));
        for (int member = 0; member < ledger.members; ++member) {
            workers_.push_back(
                {{Role::kConsumer, "sqlite:" + file, broker_url_, "storm." + ledger.name,
                  fmt::format("{}-{}", ledger.name, member)}});
        }
    }

    void start(Worker& worker) const {
        const WorkerOptions& work = worker.options;
        std::vector<std::string> arguments = {
            "--worker",       work.role == Role::kRelay ? "relay" : "consumer",
            "--database",     work.database,
            "--broker-url",   work.broker,
            "--subscription", work.subscription,
            "--member",       work.member,
            "--partitions",   std::to_string(options_.partitions)};
        test::ProcessOptions process{.arguments = std::move(arguments)};
        if (options_.forgetful) {
            process.arguments.emplace_back("--forgetful");
            // What the storm may do at any time, at the worst time.
            process.environment.emplace_back("INSTEP_FAIL", "consumer.after_commit=crash@20");
        }
        worker.process = std::make_unique<test::Process>(program_, process);
    }

    /// Consumers first: what is published before a subscription stands is not for it.
    bool start_workers() {
        for (const Role role : {Role::kConsumer, Role::kRelay}) {
            for (Worker& worker : workers_) {
                if (worker.options.role == role) {
                    start(worker);
                    if (!worker.process->prints("ready")) {
                        return false;
                    }
                }
            }
        }
        return true;
    }

    /// Nobody but the storm ends a process, unless it was told to end by itself. librdkafka 2.0
    /// ends its process where it finds itself in disorder (docs/adr, Kafka): one more fault, which
    /// whoever supervises the process answers by starting it again.
    void start_those_that_ended() {
        for (Worker& worker : workers_) {
            if (!worker.process->has_ended()) {
                continue;
            }
            const std::string said = worker.process->wait().err;
            if (said.find("rdkafka_") != std::string::npos &&
                said.find("Assertion") != std::string::npos) {
                ++result_.faults["ended by librdkafka"];
            } else if (!options_.forgetful) {
                result_.problem +=
                    fmt::format("{} ended by itself: {}\n", worker.options.member, said);
            }
            start(worker);
        }
    }

    void do_harm() {
        std::vector<std::function<void()>> harms = {[this] { kill_one(Role::kRelay); },
                                                    [this] { kill_one(Role::kConsumer); }};
        if (server_ != nullptr) {
            harms.insert(harms.end(), {[this] { cut(); }, [this] { cut(); }, [this] { stall(); },
                                       [this] { lose_answer(); }, [this] { slow_down(); },
                                       [this] { stop_server(Ending::kKilled); },
                                       [this] { stop_server(Ending::kStopped); }});
        }
        harms[random_.below(harms.size())]();
    }

    /// Few harms fit into the time where a server takes long to start.
    [[nodiscard]] bool has_killed_of_each() const {
        return options_.calm ||
               (result_.faults.contains(kRelayKilled) && result_.faults.contains(kConsumerKilled));
    }

    void kill_one(Role role) {
        std::vector<Worker*> some;
        for (Worker& worker : workers_) {
            if (worker.options.role == role) {
                some.push_back(&worker);
            }
        }
        Worker& victim = *some[random_.below(some.size())];
        victim.process->signal(SIGKILL);
        start(victim);
        note(role == Role::kRelay ? kRelayKilled : kConsumerKilled, victim.options.member);
    }

    void cut() {
        server_->proxy().cut();
        note("connections cut");
    }

    void stall() {
        server_->proxy().stall();
        pause(random_.below(kStallMsMax));
        server_->proxy().restore();
        note("connections stalled");
    }

    void lose_answer() {
        server_->proxy().lose_answer(1 + random_.below(20));
        note("answer lost");
    }

    void slow_down() {
        server_->proxy().delay(3ms);
        pause(random_.below(kStallMsMax));
        server_->proxy().restore();
        note("connections slow");
    }

    enum class Ending : std::uint8_t { kKilled, kStopped };

    void stop_server(Ending ending) {
        if (ending == Ending::kKilled) {
            server_->kill();
        } else {
            server_->stop();
        }
        pause(random_.below(kCalmMsMax));
        server_->start();
        note(ending == Ending::kKilled ? "broker killed" : "broker restarted");
    }

    /// Harm that has been done, beside what was written until then.
    void note(const char* fault, std::string_view whom = {}) {
        ++result_.faults[fault];
        const auto since = std::chrono::steady_clock::now() - began_;
        story_ += fmt::format("  {:.3f} s, {} events: {} {}\n",
                              std::chrono::duration<double>(since).count(),
                              count_events(read_lists(*owner_)), fault, whom);
    }

    void heal() {
        start_those_that_ended();
        if (server_ != nullptr) {
            server_->proxy().restore();
        }
        const Lists lists = read_lists(*owner_);
        result_.events = count_events(lists);
        std::string late;
        std::string missing;
        for (Ledger& ledger : ledgers_) {
            if (!catches_up(ledger)) {
                late += ledger.name + " did not catch up. ";
            }
            missing += ledger.name + "\n" + compare(lists, *ledger.connection, result_);
        }
        if (late.empty() && result_.is_clean()) {
            return;
        }
        // Before the processes are killed, which gives back what they hold.
        const std::string server = server_ == nullptr ? "" : server_->account();
        const std::string said = complaints();
        result_.problem += late.empty() ? "" : late + said;
        result_.account = fmt::format("harm\n{}missing from {}processes\n{}\nserver\n{}", story_,
                                      missing, said, server);
    }

    /// A machine may be slow and a backlog long: only where nothing moves somebody is late.
    bool catches_up(const Ledger& ledger) {
        std::uint64_t effects = 0;
        bool moves = true;
        while (moves && effects < result_.events) {
            const std::uint64_t before = effects;
            moves = test::eventually([&] {
                start_those_that_ended();
                effects = static_cast<std::uint64_t>(count_effects(*ledger.connection));
                return effects > before;
            });
            // Counting takes time from those who are counted.
            pause(kCountEveryMs);
        }
        return effects >= result_.events;
    }

    /// What the processes that run now have said last.
    std::string complaints() {
        std::string all;
        for (Worker& worker : workers_) {
            if (worker.process != nullptr) {
                worker.process->signal(SIGKILL);
                const std::string text = worker.process->wait().err;
                all += fmt::format("\n{}: {}", worker.options.member,
                                   text.substr(text.size() - std::min(text.size(), kSaidMax)));
            }
        }
        return all;
    }

    static void pause(std::uint64_t milliseconds) {
        std::ignore =
            test::eventually([] { return false; }, std::chrono::milliseconds(milliseconds));
    }

    const StormOptions options_;
    const std::string program_;
    SeededRandom random_;
    SystemClock clock_;
    test::TempDir folder_;
    std::unique_ptr<test::BrokerServer> server_;
    const std::string broker_url_;
    std::unique_ptr<Database> owner_database_;
    std::unique_ptr<Connection> owner_;
    std::array<Ledger, 2> ledgers_{Ledger{"shared", 2}, Ledger{"alone", 1}};
    std::vector<Worker> workers_;
    const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();

    /// What was done when, a line a fault.
    std::string story_;
    StormResult result_;
};

}  // namespace

StormResult run_storm(const StormOptions& options, const std::string& program) {
    return Storm(options, program).run();
}

std::string to_text(const StormResult& result) {
    std::string text =
        fmt::format("{} events, {} effects: {} lost, {} repeated, {} inversions\n", result.events,
                    result.effects, result.lost, result.repeated, result.inversions);
    for (const auto& [name, count] : result.faults) {
        text += fmt::format("  {}: {}\n", name, count);
    }
    if (!result.problem.empty()) {
        text += fmt::format("  problem: {}\n", result.problem);
    }
    return text;
}

}  // namespace instep::storm
