#include "tests/simulation/world.hpp"

#include "instep/broker/embedded/broker.hpp"
#include "instep/capture/capture.hpp"
#include "instep/db/schema.hpp"
#include "instep/db/sqlite/database.hpp"
#include "tests/simulation/course.hpp"
#include "tests/simulation/environment.hpp"
#include "tests/simulation/orders_workload.hpp"
#include "tests/simulation/processes.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <utility>

namespace instep::simulation {

namespace {

constexpr std::uint64_t kStepsMax = 3'000'000;
constexpr std::chrono::milliseconds kIdleMin{5};
constexpr std::chrono::milliseconds kIdleMax{800};
constexpr std::uint64_t kDownMs = 2000;

using Columns = std::vector<std::pair<std::string, std::string>>;

Result<void> make_owner(Database& database, std::string_view key_type) {
    INSTEP_TRY_ASSIGN(auto connection, database.connect());
    INSTEP_TRY(migrate(*connection, service_migrations(sqlite_dialect())));
    INSTEP_TRY(connection->execute_script(
        fmt::format("CREATE TABLE users (id {} PRIMARY KEY NOT NULL, name TEXT, amount INTEGER, "
                    "secret TEXT); {}",
                    key_type, fmt::format(kOrderTables, " REFERENCES customers (id)"))));
    std::vector<PublishEntry> entries = {
        {std::string(kTable), "user", {"id"}, {"id", "name", "amount"}, {}}};
    for (const WholeTable& table : kWholeTables) {
        entries.push_back({std::string(table.name),
                           std::string(table.entity),
                           {"id"},
                           {table.columns.begin(), table.columns.end()},
                           {}});
    }
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection, TransactionMode::kWrite));
    INSTEP_TRY(apply_capture(transaction, kOwner, entries));
    return transaction.commit();
}

Result<void> make_holder(Database& database, std::string_view further) {
    INSTEP_TRY_ASSIGN(auto connection, database.connect());
    INSTEP_TRY(migrate(*connection, service_migrations(sqlite_dialect())));
    return connection->execute_script(
        fmt::format("CREATE TABLE effects (n INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, "
                    "seq INTEGER, replay INTEGER, edit TEXT, wanted INTEGER); {}",
                    further));
}

std::vector<ReplicaDefinition> group_definitions(std::uint32_t tables) {
    std::vector<ReplicaDefinition> definitions;
    for (const WholeTable& table : std::span(kWholeTables).first(tables)) {
        definitions.push_back({"crm",
                               std::string(table.topic),
                               std::string(table.name),
                               {},
                               ApplyUnit::kTransaction});
    }
    return definitions;
}

/// Tables as an application makes them for itself. What they refuse stands in one of them.
Result<void> make_group_holder(Database& database, std::uint32_t tables) {
    INSTEP_TRY_ASSIGN(auto connection, database.connect());
    INSTEP_TRY(migrate(*connection, service_migrations(sqlite_dialect())));
    const bool has_customers = tables == kWholeTables.size();
    INSTEP_TRY(connection->execute_script(fmt::format(
        "{} CREATE TABLE refused (amount INTEGER NOT NULL);"
        "CREATE TRIGGER refuses BEFORE INSERT ON lines WHEN NEW.amount IN (SELECT amount FROM "
        "refused) BEGIN SELECT RAISE(ABORT, 'simulated: the table refuses it'); END",
        fmt::format(kOrderTables, has_customers ? " REFERENCES customers (id)" : ""))));
    INSTEP_TRY_ASSIGN(Transaction transaction,
                      Transaction::begin(*connection, TransactionMode::kWrite));
    for (const ReplicaDefinition& definition : group_definitions(tables)) {
        INSTEP_TRY_ASSIGN(const auto changes, plan_replica(*connection, definition, nullptr));
        INSTEP_TRY(run_changes(transaction, changes));
    }
    return transaction.commit();
}

const DatabaseImage& group_image(std::uint32_t tables) {
    const auto make = [](std::uint32_t count) {
        return make_image([count](Database& database, const Clock&) {
            return make_group_holder(database, count);
        });
    };
    static const DatabaseImage two = make(2);
    static const DatabaseImage three = make(3);
    return tables == 2 ? two : three;
}

const DatabaseImage& owner_image(bool text_keys) {
    static const DatabaseImage integer = make_image(
        [](Database& database, const Clock&) { return make_owner(database, "INTEGER"); });
    static const DatabaseImage text =
        make_image([](Database& database, const Clock&) { return make_owner(database, "TEXT"); });
    return text_keys ? text : integer;
}

/// The picky ones have the replica's table already, with a constraint that refuses the poison.
const DatabaseImage& holder_image(const Options& options, bool picky) {
    static const DatabaseImage plain =
        make_image([](Database& database, const Clock&) { return make_holder(database, ""); });
    const auto make_picky = [](std::string_view key_type) {
        return make_image([key_type](Database& database, const Clock&) {
            return make_holder(database,
                               fmt::format("CREATE TABLE lookup_users (id {} PRIMARY KEY NOT NULL, "
                                           "name TEXT CHECK (name <> '{}'), amount INTEGER)",
                                           key_type, kPoison));
        });
    };
    static const DatabaseImage integer = make_picky("INTEGER");
    static const DatabaseImage text = make_picky("TEXT");
    return !picky ? plain : options.text_keys ? text : integer;
}

const DatabaseImage& broker_image() {
    static const DatabaseImage image =
        make_image([](Database& database, const Clock& clock) -> Result<void> {
            INSTEP_TRY(open_embedded_broker(database, clock));
            return {};
        });
    return image;
}

/// What the product logs, among the lines of a trace.
class TraceLogSink final : public LogSink {
public:
    explicit TraceLogSink(Trace& trace) : trace_(trace) {}
    void write(std::string_view line) override {
        trace_.note(std::string(line.substr(0, line.size() - 1)));
    }

private:
    Trace& trace_;
};

class World {
public:
    World(const Scenario& scenario, Trace& trace)
        : random_(scenario.seed),
          scheduler_(random_, clock_, trace),
          chaos_(scheduler_, random_),
          log_sink_(trace),
          logger_(log_sink_, clock_,
                  {.level = trace.keeps_text() ? LogLevel::kDebug : LogLevel::kError}),
          environment_{.options = options_of(scenario, random_),
                       .scheduler = scheduler_,
                       .chaos = chaos_,
                       .random = random_,
                       .logger = logger_,
                       .findings = findings_,
                       .bug = scenario.bug},
          course_(environment_, [this] { spawn_processes(); }) {
        scheduler_.set_step_max(environment_.options.step_max);
        environment_.transactions_left =
            environment_.options.transactions * environment_.options.writers;
        environment_.poison = environment_.options.poison;
        make_owner_site();
        make_user_site("data-owner", "lookup_users",
                       {{"id", "id"}, {"name", "name"}, {"amount", "amount"}});
        if (environment_.options.replicas > 1) {
            make_user_site("billing", "payers", {{"id", "payer"}, {"name", "full_name"}});
        }
        if (environment_.options.group.tables > 0) {
            make_group_sites();
        }
        make_broker();
    }

    World(const World&) = delete;
    World& operator=(const World&) = delete;
    ~World() { scheduler_.end(); }

    void run() {
        scheduler_.spawn("course", [this] {
            try {
                course_.run();
            } catch (const Crash&) {
                return;
            }
        });
        const auto end =
            scheduler_.run([this] { return course_.is_over() || findings_.any(); }, kStepsMax);
        if (end == Scheduler::End::kStuck) {
            findings_.report("nothing can go on");
        }
        if (end == Scheduler::End::kOutOfSteps) {
            findings_.report("the run takes too many steps");
        }
    }

    [[nodiscard]] const Findings& findings() const { return findings_; }
    [[nodiscard]] const Options& options() const { return environment_.options; }

private:
    static std::optional<BrokerKind> broker_of(const Scenario& scenario) {
        return scenario.broker || scenario.bug == nullptr ? scenario.broker : scenario.bug->broker;
    }

    static Options options_of(const Scenario& scenario, Random& random) {
        Options options = draw_options(random, broker_of(scenario));
        if (scenario.bug != nullptr && scenario.bug->setting) {
            scenario.bug->setting(options);
        }
        return options;
    }

    /// Two databases made from one image are two lives.
    void set_incarnation(SimDatabase& database) {
        const auto incarnation = static_cast<std::int64_t>(random_.next());
        database.meddle("UPDATE instep_log_identity SET incarnation = $1", {incarnation});
    }

    void make_owner_site() {
        const Options& options = environment_.options;
        environment_.source =
            std::make_unique<SimDatabase>("iam.db", owner_image(options.text_keys), chaos_);
        set_incarnation(*environment_.source);
        environment_.source_log = std::make_unique<LogHistory>(
            *environment_.source, std::string(kOwner), options.partitions, findings_);
        environment_.requests = std::make_unique<RequestsWatch>(
            *environment_.source, std::string(kRequestTopic), findings_);
        environment_.source->on_commit([this] {
            environment_.source_log->after_commit();
            environment_.requests->after_commit();
            if (environment_.group) {
                environment_.group->after_source_commit();
            }
        });
    }

    Holder& make_holder(std::string_view service, const DatabaseImage& image) {
        auto holder = std::make_unique<Holder>();
        holder->service = service;
        holder->database =
            std::make_unique<SimDatabase>(fmt::format("{}.db", service), image, chaos_);
        set_incarnation(*holder->database);
        holder->requests =
            std::make_unique<LogHistory>(*holder->database, holder->service, 1, findings_);
        holder->database->on_commit([this, made = holder.get()] { committed_by(*made); });
        environment_.holders.push_back(std::move(holder));
        return *environment_.holders.back();
    }

    void committed_by(Holder& holder) {
        holder.requests->after_commit();
        for (const auto& site : environment_.sites) {
            if (site->database != holder.database.get()) {
                continue;
            }
            site->replica->after_commit();
            if (site->effects) {
                site->effects->after_commit();
            }
        }
        if (environment_.group && &environment_.group->database() == holder.database.get()) {
            environment_.group->after_commit();
        }
    }

    ReplicaSite& make_site(ReplicaDefinition definition, std::string_view source_table,
                           const Columns& columns, Holder& holder) {
        auto site = std::make_unique<ReplicaSite>();
        site->definition = std::move(definition);
        site->source_table = source_table;
        site->database = holder.database.get();
        site->replica = std::make_unique<ReplicaWatch>(*site->database, site->definition, columns,
                                                       *environment_.source_log, findings_);
        environment_.sites.push_back(std::move(site));
        return *environment_.sites.back();
    }

    void make_user_site(std::string_view service, std::string_view table, const Columns& columns) {
        const bool first = environment_.sites.empty();
        Holder& holder = make_holder(
            service, holder_image(environment_.options, first && environment_.options.poison > 0));
        ReplicaSite& site = make_site({std::string(service), std::string(kTopic),
                                       std::string(table), first ? Columns{} : columns},
                                      kTable, columns, holder);
        if (first && environment_.options.counts_effects) {
            site.effects = std::make_unique<EffectsWatch>(*site.database, "data-owner.effects",
                                                          *environment_.source_log,
                                                          environment_.options, findings_);
        }
    }

    void make_group_sites() {
        const GroupOptions& options = environment_.options.group;
        Holder& holder = make_holder("crm", group_image(options.tables));
        if (options.refused > 0) {
            holder.database->meddle("INSERT INTO refused VALUES ($1)", {kRefusedAmount});
        }
        const auto definitions = group_definitions(options.tables);
        environment_.group = std::make_unique<GroupWatch>(
            *holder.database, definitions.front().subscription(), *environment_.source, findings_);
        std::vector<std::string> topics;
        for (std::size_t i = 0; i < definitions.size(); ++i) {
            Columns columns;
            for (const std::string_view name : kWholeTables.at(i).columns) {
                columns.emplace_back(name, name);
            }
            const ReplicaSite& site =
                make_site(definitions[i], kWholeTables.at(i).name, columns, holder);
            environment_.group->add_table(site.definition, *site.replica, columns);
        }
        for (const WholeTable& table : kWholeTables) {
            topics.emplace_back(table.topic);
        }
        environment_.source_log->expect_whole(topics);
    }

    void make_broker() {
        const Options& options = environment_.options;
        if (options.real_broker) {
            environment_.broker_database =
                std::make_unique<SimDatabase>("broker.db", broker_image(), chaos_);
            environment_.broker_database->on_commit([this] { read_embedded_messages(); });
            return;
        }
        environment_.sim_broker = make_sim_broker(
            options.broker,
            SimBrokerOptions{.fences_publishers = options.fences_publishers,
                             .remembers_last_version = options.remembers_last_version,
                             .visibility_delay = options.visibility_delay,
                             .bug = environment_.bug == nullptr ? BrokerBug::kNone
                                                                : environment_.bug->broker_bug},
            chaos_);
        environment_.sim_broker->on_published(
            [this](std::string_view topic, std::uint32_t partition, std::uint32_t partitions,
                   const Event& event) { published(topic, partition, partitions, event); });
    }

    void read_embedded_messages() {
        if (!environment_.broker_database->touched("INTO instep_message")) {
            return;
        }
        Connection& connection = environment_.broker_database->inspect();
        auto rows = connection.query(
            "SELECT m.position, s.id, s.topic, s.partition, (SELECT count(*) FROM instep_slot o "
            "WHERE o.topic = s.topic), m.source, m.key, m.version, m.operation, m.data, m.type "
            "FROM instep_slot s JOIN instep_message m ON m.position >> 40 = s.id "
            "ORDER BY m.position",
            {});
        while (*(*rows)->next()) {
            std::int64_t& seen = embedded_seen_[(*rows)->integer(1)];
            if ((*rows)->integer(0) <= seen) {
                continue;
            }
            seen = (*rows)->integer(0);
            Event event;
            event.source = (*rows)->text(5);
            event.key = (*rows)->text(6);
            event.version = *version_from_bytes((*rows)->blob(7));
            event.operation = static_cast<Operation>((*rows)->integer(8));
            event.data = (*rows)->blob(9);
            event.type = (*rows)->text(10);
            published((*rows)->text(2), static_cast<std::uint32_t>((*rows)->integer(3)),
                      static_cast<std::uint32_t>((*rows)->integer(4)), event);
        }
    }

    void published(std::string_view topic, std::uint32_t partition, std::uint32_t partitions,
                   const Event& event) {
        if (event.source == kOwner) {
            environment_.source_log->published(topic, partition, partitions, event);
        }
        for (const auto& holder : environment_.holders) {
            if (event.source == holder->service) {
                holder->requests->published(topic, partition, partitions, event);
            }
        }
    }

    void spawn_processes() {
        const Options& options = environment_.options;
        for (std::uint32_t i = 0; i < options.writers; ++i) {
            spawn(fmt::format("writer-{}", i), [this] { return make_writer(environment_); });
        }
        for (std::uint32_t i = 0; i < options.relays; ++i) {
            spawn(fmt::format("relay-{}", i), [this] { return make_relay(environment_); });
        }
        spawn("requests", [this] { return make_request_consumer(environment_); });
        for (std::uint32_t i = 0; environment_.group && i < options.members; ++i) {
            spawn(fmt::format("group-{}", i), [this] { return make_group(environment_); });
        }
        for (const auto& site : environment_.sites) {
            if (site->definition.apply == ApplyUnit::kTransaction) {
                continue;
            }
            for (std::uint32_t i = 0; i < options.members; ++i) {
                spawn(fmt::format("{}-{}", site->definition.table, i),
                      [this, of = site.get()] { return make_replica(environment_, *of); });
                if (site->effects) {
                    spawn(fmt::format("effects-{}", i), [this, of = site.get()] {
                        return make_effects_consumer(environment_, *of);
                    });
                }
            }
        }
        spawn("operator", [this] { return make_operator(environment_); });
    }

    void spawn(std::string name, std::function<std::unique_ptr<Process>()> make) {
        scheduler_.spawn(std::move(name), [this, make = std::move(make)] {
            std::unique_ptr<Process> process;
            do {
                try {
                    process = make();
                    live(*process);
                } catch (const Crash&) {
                    scheduler_.trace("died", "", "");
                }
                // Destructors must not throw, however the process ended.
                scheduler_.begin_orderly_end();
                process.reset();
                scheduler_.finish_orderly_end();
            } while (scheduler_.revive() && wait_before_restart());
        });
    }

    bool wait_before_restart() {
        try {
            scheduler_.rest(std::chrono::milliseconds{random_.below(kDownMs)});
            return true;
        } catch (const Crash&) {
            return false;
        }
    }

    void live(Process& process) {
        if (auto started = process.start(); !started) {
            scheduler_.trace("start", started.error().message, "failed");
            return;
        }
        auto idle = kIdleMin;
        for (;;) {
            const auto done = process.work();
            scheduler_.trace("round", done ? "" : done.error().message, done ? "ok" : "failed");
            idle = done && *done > 0 ? kIdleMin : std::min(idle * 2, kIdleMax);
            if (!done || *done == 0) {
                scheduler_.rest(idle);
            }
            if (environment_.operating && random_.below(200) == 0) {
                scheduler_.trace("stop", "", "");
                return;
            }
        }
    }

    SeededRandom random_;
    VirtualClock clock_;
    Scheduler scheduler_;
    Chaos chaos_;
    Findings findings_;
    TraceLogSink log_sink_;
    Logger logger_;
    Environment environment_;
    Course course_;

    /// The newest position seen of each slot of the embedded broker.
    std::map<std::int64_t, std::int64_t> embedded_seen_;
};

}  // namespace

RunResult run(const Scenario& scenario, TraceText text) {
    Trace trace(text);
    RunResult result;
    result.scenario = scenario;
    {
        World world(scenario, trace);
        world.run();
        result.finding = world.findings().first();
        result.options = to_string(world.options());
        result.trace_hash = trace.hash();
        result.events = trace.events();
        result.last_lines.assign(trace.last_lines().begin(), trace.last_lines().end());
    }
    return result;
}

std::string describe_failure(const RunResult& result) {
    const Scenario& scenario = result.scenario;
    const RunResult again = run(scenario, TraceText::kLast);
    return fmt::format(
        "seed {}: {}\noptions: {}\nthe last events:\n{}\nto repeat: ./dev sim --seed {} "
        "--trace{}{}\n",
        scenario.seed, result.finding, result.options, fmt::join(again.last_lines, "\n"),
        scenario.seed,
        scenario.broker ? fmt::format(" --broker {}", to_string(*scenario.broker)) : "",
        scenario.bug == nullptr ? "" : fmt::format(" --bug {}", scenario.bug->name));
}

}  // namespace instep::simulation
