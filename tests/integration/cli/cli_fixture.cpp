#include "tests/integration/cli/cli_fixture.hpp"

#include "instep/db/sqlite/database.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace instep::test {

namespace {

/// Programs that write all the time may keep a test's statement waiting.
constexpr ConnectOptions kPatientOptions{.lock_patience = std::chrono::seconds(60)};

constexpr std::string_view kOwnerFile = R"([service]
name = "iam"
database = "sqlite:iam.db"
broker = "embedded:broker.db"

[[publish]]
table = "users"
entity = "user"
key = "id"
columns = ["id", "username", "email"]
personal = ["email"]
)";

constexpr std::string_view kReplicaFile = R"([service]
name = "data-owner"
database = "sqlite:data_owner.db"
broker = "embedded:broker.db"

[[replica]]
topic = "iam.user"
table = "lookup_users"
)";

}  // namespace

void CliTest::given_services() {
    given_file("iam.toml", kOwnerFile);
    given_file("data_owner.toml", kReplicaFile);
    sql("iam.db",
        "CREATE TABLE users (id INTEGER PRIMARY KEY, username TEXT NOT NULL, email TEXT, "
        "password_hash TEXT);"
        "INSERT INTO users VALUES (1, 'ada', 'ada@example.org', 'x'), "
        "(2, 'bob', 'bob@example.org', 'y'), (3, 'eve', NULL, 'z')");
}

void CliTest::given_applied_services() {
    given_services();
    const Finished applied = run({"apply", "iam.toml", "data_owner.toml"});
    ASSERT_EQ(applied.exit, 0) << applied.err;
}

void CliTest::given_filled_replica() {
    given_applied_services();
    const Finished verified = run({"verify", "iam.toml", "data_owner.toml"});
    ASSERT_EQ(verified.exit, 0) << verified.out << verified.err;
}

void CliTest::given_file(std::string_view name, std::string_view text) const {
    std::ofstream(folder_.file(name)) << text;
}

ProcessOptions CliTest::options(const std::vector<std::string>& arguments) const {
    ProcessOptions options;
    options.arguments = arguments;
    options.directory = folder_.path().string();
    return options;
}

Finished CliTest::run(const std::vector<std::string>& arguments) const {
    return run_process(INSTEP_PROGRAM, options(arguments));
}

nlohmann::json CliTest::run_json(const std::vector<std::string>& arguments,
                                 std::string_view schema) const {
    std::vector<std::string> words = arguments;
    words.emplace_back("--json");
    const Finished finished = run(words);
    auto json = nlohmann::json::parse(finished.out, nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << finished.out << finished.err;
    EXPECT_EQ(json.is_object() ? json.value("schema", "") : "", schema) << finished.out;
    EXPECT_EQ(finished.err, "");
    return json;
}

void CliTest::sql(std::string_view database, std::string_view script) const {
    const auto opened = open_sqlite(folder_.file(database), clock_);
    ASSERT_TRUE(opened);
    const auto connection = (*opened)->connect(kPatientOptions);
    ASSERT_TRUE(connection);
    const auto done = (*connection)->execute_script(script);
    ASSERT_TRUE(done) << done.error().message;
}

std::string CliTest::value(std::string_view database, std::string_view query) const {
    const auto opened = open_sqlite(folder_.file(database), clock_);
    const auto connection = (*opened)->connect();
    const auto rows = (*connection)->query(fmt::format("SELECT CAST(({}) AS TEXT)", query), {});
    if (!rows) {
        ADD_FAILURE() << rows.error().message;
        return {};
    }
    const auto found = (*rows)->next();
    return found && *found ? std::string((*rows)->text(0)) : "";
}

}  // namespace instep::test
