#include "tests/integration/crash/crash_fixture.hpp"

#include "instep/db/sqlite/database.hpp"
#include "instep/replica/verification.hpp"
#include "tests/support/sync_system.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <csignal>
#include <fstream>
#include <utility>

namespace instep::test {

namespace {

using std::chrono::seconds;

constexpr int kLaterColumns = 4;
constexpr std::uint64_t kStepsBetweenRequests = 40;

constexpr std::string_view kItems =
    "CREATE TABLE items (id INTEGER PRIMARY KEY, entries TEXT NOT NULL, note, secret TEXT, "
    "later1 DEFAULT 'a', later2 DEFAULT 0.1, later3, later4 DEFAULT x'00FF')";

constexpr std::string_view kReplicaFile = R"([service]
name = "data-owner"
database = "sqlite:data_owner.db"
broker = "embedded:broker.db"

[[replica]]
topic = "iam.item"
table = "lookup_items"

[[replica]]
topic = "iam.item"
table = "lists"
columns = { id = "item_id", entries = "list" }

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
    Replica{definition("lookup_items", {}),
            "SELECT id, entries, quote(note) FROM items ORDER BY id",
            "SELECT id, entries, quote(note) FROM lookup_items ORDER BY id",
            "SELECT id, entries, instep_version FROM lookup_items"},
    Replica{definition("lists", {{"id", "item_id"}, {"entries", "list"}}),
            "SELECT id, entries FROM items ORDER BY id",
            "SELECT item_id, list FROM lists ORDER BY item_id",
            "SELECT item_id, list, instep_version FROM lists"},
    Replica{definition("notes", {{"id", "id"}, {"note", "note"}, {"entries", "entries"}}),
            "SELECT id, entries, quote(note) FROM items ORDER BY id",
            "SELECT id, entries, quote(note) FROM notes ORDER BY id",
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

void CrashFixture::given_services(std::uint64_t seed) {
    owner_ = open("iam.db");
    run_sql(*owner_, kItems);
    writer_ = std::make_unique<ListWriter>(*owner_, seed);
    writer_->write(200);
    write_owner_file();
    std::ofstream(folder_.file("data_owner.toml")) << kReplicaFile;
}

void CrashFixture::given_live_replicas(std::uint64_t seed) {
    given_services(seed);
    const Finished applied = run({"apply", "iam.toml", "data_owner.toml"});
    ASSERT_EQ(applied.exit, 0) << applied.err;
    const Finished verified = run({"verify", "iam.toml", "data_owner.toml"});
    ASSERT_EQ(verified.exit, 0) << verified.out << verified.err;
    replicas_ = open("data_owner.db");
    for (const Replica& replica : kReplicas) {
        watches_.push_back(std::make_unique<ListWatch>(*replicas_, replica.lists, *writer_));
    }
}

void CrashFixture::write_owner_file() {
    std::ofstream(folder_.file("iam.toml")) << fmt::format(
        "[service]\nname = \"iam\"\ndatabase = \"sqlite:iam.db\"\nbroker = \"embedded:broker.db\"\n"
        "[[publish]]\ntable = \"items\"\nentity = \"item\"\nkey = \"id\"\n"
        "columns = [\"id\", \"entries\", \"note\"{}]\n",
        later_columns(columns_published_, ", \"later{}\""));
}

void CrashFixture::given_poison() {
    run_sql(*replicas_, fmt::format("CREATE TRIGGER poison BEFORE INSERT ON lookup_items WHEN "
                                    "NEW.id = {} BEGIN SELECT RAISE(ABORT, 'poison'); END",
                                    ListWriter::kSteadyKey));
}

void CrashFixture::without_poison() { run_sql(*replicas_, "DROP TRIGGER IF EXISTS poison"); }

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
    run_sql(side == Side::kOwner ? *owner_ : *replicas_,
            "UPDATE instep_lease SET until_us = 0 WHERE owner " + is_dead);
    run_sql(*open("broker.db"), "UPDATE instep_member SET until_us = 0 WHERE name " + is_dead);
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

void CrashFixture::expect_caught_up() {
    const Finished waited =
        run({"wait", "iam.toml", "data_owner.toml", "--caught-up", "--timeout", "20s"});
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
    const std::string later = "SELECT id" + later_columns(columns_published_, ", quote(later{})");
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

std::unique_ptr<Connection> CrashFixture::open(std::string_view file) const {
    const auto database = open_sqlite(folder_.file(file), clock_);
    EXPECT_TRUE(database);
    ConnectOptions options;
    options.durability = Durability::kProcess;
    auto connection = (*database)->connect(options);
    EXPECT_TRUE(connection) << connection.error().message;
    return *std::move(connection);
}

}  // namespace instep::test
