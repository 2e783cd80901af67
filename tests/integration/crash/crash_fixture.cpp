#include "tests/integration/crash/crash_fixture.hpp"

#include "instep/db/postgres/database.hpp"
#include "instep/db/sqlite/database.hpp"
#include "instep/replica/verification.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <utility>

namespace instep::test {

namespace {

using std::chrono::seconds;

constexpr int kLaterColumns = 4;
constexpr std::uint64_t kStepsBetweenRequests = 40;

constexpr std::string_view kItemsOnSqlite =
    "CREATE TABLE items (id INTEGER PRIMARY KEY, entries TEXT NOT NULL, note, secret TEXT, "
    "later1 DEFAULT 'a', later2 DEFAULT 0.1, later3, later4 DEFAULT x'00FF')";

constexpr std::string_view kItemsOnPostgres =
    "CREATE TABLE items (id bigint PRIMARY KEY, entries text NOT NULL, note bigint, secret text, "
    "later1 text DEFAULT 'a', later2 double precision DEFAULT 0.1, later3 text, "
    "later4 bytea DEFAULT '\\x00ff')";

constexpr std::string_view kReplicaFile = R"([service]
name = "data-owner"
database = "{}"
broker = "{}"

[[replica]]
topic = "iam.item"
table = "lookup_items"

[[replica]]
topic = "iam.item"
table = "lists"
columns = {{ id = "item_id", entries = "list" }}

[[replica]]
topic = "iam.item"
table = "notes"
columns = ["id", "note", "entries"]
)";

ReplicaDefinition definition(std::string table,
                             std::vector<std::pair<std::string, std::string>> columns) {
    ReplicaDefinition replica;
    replica.service = "data-owner";
    replica.topic = "iam.item";
    replica.table = std::move(table);
    replica.columns = std::move(columns);
    return replica;
}

/// A replica, and how its rows read at the source and here.
struct Replica {
    ReplicaDefinition definition;
    std::string source;
    std::string local;
    std::string lists;
};

const std::array kReplicas = {
    Replica{definition("lookup_items", {}), "SELECT id, entries, note FROM items ORDER BY id",
            "SELECT id, entries, note FROM lookup_items ORDER BY id",
            "SELECT id, entries, instep_version FROM lookup_items"},
    Replica{definition("lists", {{"id", "item_id"}, {"entries", "list"}}),
            "SELECT id, entries FROM items ORDER BY id",
            "SELECT item_id, list FROM lists ORDER BY item_id",
            "SELECT item_id, list, instep_version FROM lists"},
    Replica{definition("notes", {{"id", "id"}, {"note", "note"}, {"entries", "entries"}}),
            "SELECT id, entries, note FROM items ORDER BY id",
            "SELECT id, entries, note FROM notes ORDER BY id",
            "SELECT id, entries, instep_version FROM notes"},
};

std::string later_columns(int count, std::string_view format) {
    std::string list;
    for (int i = 1; i <= count; ++i) {
        list += fmt::format(fmt::runtime(format), i);
    }
    return list;
}

}  // namespace

CrashFixture::CrashFixture(Home home, CaptureBy capture, Way way)
    : home_(home),
      capture_(capture),
      owner_broker_(way == Way::kBroker ? "embedded:broker.db" : "direct:"),
      replica_broker_(way == Way::kBroker ? "embedded:broker.db" : "direct:iam.toml") {
    if (home_ == Home::kPostgres) {
        server_ = std::make_unique<PostgresServer>();
        for (const char* name : {"iam", "data_owner"}) {
            databases_.push_back(std::make_unique<PostgresDatabase>(
                *server_, PostgresDatabase::Options{.name = name}));
        }
    }
}

void CrashFixture::given_services(std::uint64_t seed) {
    owner_ = open("iam");
    run_sql(*owner_, home_ == Home::kSqlite ? kItemsOnSqlite : kItemsOnPostgres);
    writer_ = std::make_unique<ListWriter>(*owner_, seed);
    writer_->write(200);
    write_files(owner_broker_, replica_broker_);
}

void CrashFixture::write_files(const std::string& owner_broker, const std::string& replica_broker) {
    owner_broker_ = owner_broker;
    replica_broker_ = replica_broker;
    write_owner_file();
    std::ofstream(folder_.file("data_owner.toml"))
        << fmt::format(fmt::runtime(kReplicaFile), url("data_owner"), replica_broker_);
}

void CrashFixture::given_live_replicas(std::uint64_t seed) {
    given_services(seed);
    const Finished applied = run({"apply", "iam.toml", "data_owner.toml"});
    ASSERT_EQ(applied.exit, 0) << applied.err;
    const Finished verified = run({"verify", "iam.toml", "data_owner.toml"});
    ASSERT_EQ(verified.exit, 0) << verified.out << verified.err;
    replicas_ = open("data_owner");
    for (const Replica& replica : kReplicas) {
        watches_.push_back(std::make_unique<ListWatch>(*replicas_, replica.lists, *writer_));
    }
}

void CrashFixture::write_owner_file() {
    std::ofstream(folder_.file("iam.toml")) << fmt::format(
        "[service]\nname = \"iam\"\ndatabase = \"{}\"\nbroker = \"{}\"\n{}"
        "[[publish]]\ntable = \"items\"\nentity = \"item\"\nkey = \"id\"\n"
        "columns = [\"id\", \"entries\", \"note\"{}]\n",
        url("iam"), owner_broker_, capture_ == CaptureBy::kWal ? "capture = \"wal\"\n" : "",
        later_columns(columns_published_, ", \"later{}\""));
}

void CrashFixture::given_poison() {
    if (home_ == Home::kPostgres) {
        run_sql(*replicas_,
                fmt::format("ALTER TABLE lookup_items ADD CONSTRAINT poison CHECK (id <> {}) "
                            "NOT VALID",
                            ListWriter::kSteadyKey));
        return;
    }
    run_sql(*replicas_, fmt::format("CREATE TRIGGER poison BEFORE INSERT ON lookup_items WHEN "
                                    "NEW.id = {} BEGIN SELECT RAISE(ABORT, 'poison'); END",
                                    ListWriter::kSteadyKey));
}

void CrashFixture::without_poison() {
    run_sql(*replicas_, home_ == Home::kPostgres
                            ? "ALTER TABLE lookup_items DROP CONSTRAINT IF EXISTS poison"
                            : "DROP TRIGGER IF EXISTS poison");
}

std::unique_ptr<Process> CrashFixture::launch(Side side, const std::string& fail) const {
    ProcessOptions daemon = options({"run", side == Side::kOwner ? "iam.toml" : "data_owner.toml"});
    daemon.environment = {{"INSTEP_FAIL", fail}};
    return std::make_unique<Process>(INSTEP_PROGRAM, daemon);
}

void CrashFixture::kill(Side side) {
    process(side)->signal(SIGKILL);
    bury(side);
}

void CrashFixture::bury(Side side) {
    const Finished finished = process(side)->wait();
    EXPECT_EQ(finished.exit, 137) << finished.err;
    const std::string is_dead = fmt::format("LIKE '%/{}/%'", process(side)->id());
    // Who reads a log holds leases in its database too.
    for (Connection* database : {owner_.get(), replicas_.get()}) {
        run_sql(*database, "UPDATE instep_lease SET until_us = 0 WHERE owner " + is_dead);
    }
    for (const char* broker : {"broker", "new"}) {
        if (std::filesystem::exists(folder_.file(fmt::format("{}.db", broker)))) {
            run_sql(*open(broker), "UPDATE instep_member SET until_us = 0 WHERE name " + is_dead);
        }
    }
}

bool CrashFixture::work_until(const std::function<bool()>& done,
                              std::chrono::milliseconds deadline) {
    return eventually(
        [&] {
            writer_->write();
            if (++steps_ % kStepsBetweenRequests == 0) {
                ask_for_something();
            }
            look();
            return done();
        },
        deadline);
}

void CrashFixture::ask_for_something() {
    const std::uint64_t turn = steps_ / kStepsBetweenRequests;
    const bool refills = requests_ == Requests::kRefills;
    if (refills && turn % 4 == 1 && columns_published_ < kLaterColumns) {
        publish_one_more_column();
        return;
    }
    const ReplicaDefinition& replica = kReplicas[turn % kReplicas.size()].definition;
    auto transaction = Transaction::begin(*replicas_, TransactionMode::kWrite);
    ASSERT_TRUE(transaction) << transaction.error().message;
    const auto asked =
        refills && turn % 2 == 0
            ? request_backfill(*transaction, replica, random_)
            : request_verification(*transaction, replica, VerificationPurpose::kVerify, random_);
    if (!asked) {
        // It is being filled, and cannot be verified until it is.
        EXPECT_EQ(asked.error().code, ErrorCode::kConflict) << asked.error().message;
        return;
    }
    const auto committed = transaction->commit();
    EXPECT_TRUE(committed) << committed.error().message;
}

void CrashFixture::publish_one_more_column() {
    // One that is about to start must not meet a file that is not in force yet.
    Process& owner = *process(Side::kOwner);
    EXPECT_TRUE(eventually([&] { return owner.has_ended() || owner.prints("ready", seconds(0)); }));
    ++columns_published_;
    write_owner_file();
    const Finished applied = run({"apply", "iam.toml"});
    EXPECT_EQ(applied.exit, 0) << applied.err;
}

void CrashFixture::look() {
    for (const auto& watch : watches_) {
        watch->look();
    }
}

void CrashFixture::forget_what_was_seen() {
    for (const auto& watch : watches_) {
        watch->forget();
    }
}

void CrashFixture::expect_caught_up() {
    const Finished waited =
        run({"wait", "iam.toml", "data_owner.toml", "--caught-up", "--timeout", "2m"});
    EXPECT_EQ(waited.exit, 0) << waited.err << run({"status", "iam.toml", "data_owner.toml"}).out;
    // A verification may still be under way, one digest after the other.
    Finished status;
    const auto at_rest = [&] {
        status = run({"status", "iam.toml", "data_owner.toml", "--json"});
        const auto json = nlohmann::json::parse(status.out, nullptr, false);
        if (status.exit != 0 || !json.is_object()) {
            return false;
        }
        bool moves = json["healthy"] != true || json["caught_up"] != true;
        for (const auto& service : json["services"]) {
            moves = moves || service["relay"]["lag_events"] != "0";
            for (const auto& subscription : service["subscriptions"]) {
                moves = moves || subscription["lag_events"] != "0";
            }
            for (const auto& scan : service["scans"]) {
                moves = moves || scan["state"] == "open";
            }
        }
        return !moves;
    };
    EXPECT_TRUE(eventually(at_rest)) << status.out << status.err;
}

void CrashFixture::expect_in_step() {
    expect_caught_up();
    look();
    for (const Replica& replica : kReplicas) {
        EXPECT_EQ(rows_of(*replicas_, replica.local), rows_of(*owner_, replica.source))
            << replica.definition.table;
    }
    const std::string later = "SELECT id" + later_columns(columns_published_, ", later{}");
    EXPECT_EQ(rows_of(*replicas_, later + " FROM lookup_items ORDER BY id"),
              rows_of(*owner_, later + " FROM items ORDER BY id"));
    EXPECT_EQ(value_of(*replicas_, "SELECT count(*) FROM instep_parked_key"), "0");
    EXPECT_EQ(value_of(*replicas_, "SELECT count(*) FROM instep_parked_event"), "0");

    for (const Side side : {Side::kOwner, Side::kReplicas}) {
        process(side)->signal(SIGTERM);
    }
    for (const Side side : {Side::kOwner, Side::kReplicas}) {
        const Finished stopped = process(side)->wait();
        EXPECT_EQ(stopped.exit, 0) << stopped.err;
    }
    const Finished verified = run({"verify", "iam.toml", "data_owner.toml"});
    EXPECT_EQ(verified.exit, 0) << verified.out << verified.err;
}

Finished CrashFixture::run(const std::vector<std::string>& arguments) const {
    return run_process(INSTEP_PROGRAM, options(arguments));
}

ProcessOptions CrashFixture::options(const std::vector<std::string>& arguments) const {
    ProcessOptions options;
    options.arguments = arguments;
    options.directory = folder_.path().string();
    return options;
}

std::unique_ptr<Connection> CrashFixture::open(const std::string& name) const {
    const auto database = server_ != nullptr && name != "broker" && name != "new"
                              ? open_postgres(url(name), clock_)
                              : open_sqlite(folder_.file(name + ".db"), clock_);
    EXPECT_TRUE(database);
    ConnectOptions options;
    options.lock_patience = seconds(60);
    // A file survives the tests' kills anyway; a server that crashes takes more with it.
    options.durability = server_ == nullptr ? Durability::kProcess : Durability::kFull;
    auto connection = (*database)->connect(options);
    EXPECT_TRUE(connection) << connection.error().message;
    return *std::move(connection);
}

std::string CrashFixture::url(const std::string& name) const {
    return server_ == nullptr ? fmt::format("sqlite:{}.db", name) : server_->url(name);
}

}  // namespace instep::test
