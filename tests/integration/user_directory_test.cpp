// examples/user_directory, with its own files: four databases on a PostgreSQL server, four
// services, each in a process of its own.
#include "tests/support/postgres_database.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

namespace instep::test {
namespace {

constexpr const char* kExample = INSTEP_SOURCE_DIR "/examples/user_directory";

/// The followers' databases, by the name of their service file.
const std::map<std::string, std::string> kFollowers = {
    {"data_owner", "app_core_db"}, {"processing", "app_processing_db"}, {"admin", "app_admin_db"}};

constexpr std::string_view kColumns =
    "id, employee_id, employee_code, national_id, username, title, first_name, last_name, email, "
    "phone, department_id, position, employee_type, profile_image_url, gender, is_active, "
    "created_at, updated_at, is_deleted";

std::string content(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return std::move(text).str();
}

class UserDirectoryTest : public testing::Test {
protected:
    UserDirectoryTest() {
        given_database("iam", "app_iam_db");
        for (const auto& [service, database] : kFollowers) {
            given_database(service, database);
        }
    }

    void given_database(const std::string& service, const std::string& name) {
        databases_.push_back(
            std::make_unique<PostgresDatabase>(server_, PostgresDatabase::Options{.name = name}));
        sql(name, content(fmt::format("{}/{}.sql", kExample, service)));
    }

    void given_running_services() {
        const Finished applied = instep("apply");
        ASSERT_EQ(applied.exit, 0) << applied.err;
        start("iam");
        for (const auto& [service, database] : kFollowers) {
            start(service);
        }
        expect_caught_up();
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

    std::string sql(const std::string& database, const std::string& statements) {
        return run_postgres(server_.url(database), statements);
    }

    void insert_users(int first, int last) {
        sql("app_iam_db",
            fmt::format("INSERT INTO users (employee_code, national_id, username, first_name, "
                        "last_name, password_hash, mfa_secret) SELECT 'E' || n, n, 'user' || n, "
                        "'First', 'Last', '$argon2id$' || n, 'JBSWY3DPEHPK3PXP' "
                        "FROM generate_series({}, {}) AS n",
                        first, last));
    }

    /// A file of the example, as the README has it typed.
    std::string psql(const std::string& database, const std::string& file) const {
        ProcessOptions psql;
        psql.arguments = {"--no-psqlrc",         "-At", "-q", "-v", "ON_ERROR_STOP=1",
                          server_.url(database), "-f",  file};
        psql.directory = kExample;
        const Finished finished = run_process("/usr/bin/psql", psql);
        EXPECT_EQ(finished.exit, 0) << finished.err;
        return finished.out;
    }

    /// A command with the four service files.
    [[nodiscard]] Finished instep(std::string command, std::vector<std::string> more = {}) const {
        std::vector<std::string> words = {std::move(command), "iam.toml", "data_owner.toml",
                                          "processing.toml", "admin.toml"};
        words.insert(words.end(), more.begin(), more.end());
        Process process(INSTEP_PROGRAM, options(words));
        return process.wait();
    }

    void expect_caught_up() const {
        const Finished waited = instep("wait", {"--caught-up", "--timeout", "2m"});
        EXPECT_EQ(waited.exit, 0) << waited.err;
    }

    void expect_equal() {
        expect_caught_up();
        const Finished verified = instep("verify");
        EXPECT_EQ(verified.exit, 0) << verified.out << verified.err;
        const std::string users = rows("app_iam_db", "users");
        EXPECT_NE(users, "");
        for (const auto& [service, database] : kFollowers) {
            EXPECT_EQ(rows(database, "lookup_users"), users) << service;
        }
    }

    int applied(const std::string& database) {
        return std::stoi(sql(database, "SELECT sum(applied) FROM instep.progress"));
    }

    /// All rows of the published columns as one text.
    std::string rows(const std::string& database, std::string_view table) {
        return sql(database, fmt::format("SELECT string_agg(u::text, ' ' ORDER BY id) FROM "
                                         "(SELECT {} FROM {}) AS u",
                                         kColumns, table));
    }

    [[nodiscard]] ProcessOptions options(std::vector<std::string> words) const {
        ProcessOptions options;
        options.arguments = std::move(words);
        options.environment = {{"DATABASE_SERVER", server_url()},
                               {"BROKER", folder_.file("broker.db")}};
        options.directory = kExample;
        return options;
    }

    [[nodiscard]] std::string server_url() const {
        const std::string url = server_.url("");
        return url.substr(0, url.size() - 1);
    }

    TempDir folder_;
    PostgresServer server_;
    std::vector<std::unique_ptr<PostgresDatabase>> databases_;
    std::map<std::string, std::unique_ptr<Process>> processes_;
};

TEST_F(UserDirectoryTest, EveryServiceGetsEveryEvent) {
    given_running_services();
    std::map<std::string, int> before;
    for (const auto& [service, database] : kFollowers) {
        before[service] = applied(database);
    }
    insert_users(1, 300);
    sql("app_iam_db", "UPDATE users SET first_name = 'New', updated_at = now()");
    sql("app_iam_db", "UPDATE users SET is_deleted = true WHERE employee_code < 'E2'");
    sql("app_iam_db", "DELETE FROM users WHERE employee_code LIKE 'E%7'");
    expect_caught_up();

    EXPECT_EQ(sql("app_iam_db", "SELECT count(*) FROM instep.log"), "741");
    for (const auto& [service, database] : kFollowers) {
        EXPECT_EQ(applied(database) - before[service], 741) << service;
        EXPECT_EQ(sql(database, "SELECT count(*) FROM lookup_users"), "270") << service;
    }
    expect_equal();
}

TEST_F(UserDirectoryTest, TheAuditDisplayShowsNames) {
    given_running_services();
    psql("app_iam_db", "users.sql");
    psql("app_core_db", "resources.sql");
    expect_caught_up();
    EXPECT_EQ(psql("app_core_db", "audit.sql"),
              "REF-00001|John Smith (john.smith@company.com)|Jane Doe (jane.d@company.com)\n");
    expect_equal();
}

TEST_F(UserDirectoryTest, SecretsStayInUsers) {
    given_running_services();
    psql("app_iam_db", "users.sql");
    expect_caught_up();
    const std::string events = sql("app_iam_db", "SELECT count(*) FROM instep.log");
    sql("app_iam_db", "UPDATE users SET password_hash = '$argon2id$new', mfa_secret = 'x'");
    expect_caught_up();
    EXPECT_EQ(sql("app_iam_db", "SELECT count(*) FROM instep.log"), events);

    EXPECT_EQ(sql("app_iam_db",
                  "SELECT count(*) FROM instep.log l WHERE l::text ~ 'argon2|JBSWY3|password|mfa'"),
              "0");
    std::string broker;
    for (const auto& file : std::filesystem::directory_iterator(folder_.path())) {
        broker += content(file.path());
    }
    EXPECT_NE(broker.find("john.smith"), std::string::npos);
    for (const std::string_view secret : {"argon2", "JBSWY3", "password_hash", "mfa_secret"}) {
        EXPECT_EQ(broker.find(secret), std::string::npos) << secret;
    }
    for (const auto& [service, process] : processes_) {
        process->signal(SIGTERM);
        const Finished finished = process->wait();
        EXPECT_EQ(finished.exit, 0) << service << ": " << finished.err;
        EXPECT_EQ((finished.out + finished.err).find("argon2"), std::string::npos) << service;
    }
}

TEST_F(UserDirectoryTest, KilledServicesCatchUp) {
    given_running_services();
    insert_users(1, 100);
    kill("processing");
    insert_users(101, 200);
    kill("iam");
    insert_users(201, 300);
    sql("app_iam_db", "DELETE FROM users WHERE employee_code LIKE 'E%5'");
    start("iam");
    start("processing");
    expect_equal();
}

/// The script makes its databases itself.
class UserDirectoryScriptTest : public testing::Test {
protected:
    static Finished run(std::vector<std::string> words) {
        ProcessOptions options;
        options.arguments = std::move(words);
        options.environment = {{"INSTEP", INSTEP_PROGRAM}};
        Process script(fmt::format("{}/run", kExample), options);
        return script.wait();
    }

    static void expect_proof(const Finished& finished) {
        EXPECT_EQ(finished.exit, 0) << finished.out << finished.err;
        EXPECT_NE(finished.out.find("John Smith (john.smith@company.com)"), std::string::npos)
            << finished.out;
        EXPECT_NE(finished.out.find("admin.lookup_users equals iam.user: 2 rows compared"),
                  std::string::npos)
            << finished.out;
    }
};

TEST_F(UserDirectoryScriptTest, RunsOnAServerAndLeavesNothingThere) {
    PostgresServer server;
    expect_proof(run({"--database", server.url("")}));
    EXPECT_EQ(run_postgres(server.url(), "SELECT count(*) FROM pg_database WHERE datname ~ 'app_'"),
              "0");
}

TEST_F(UserDirectoryScriptTest, LeavesOthersDatabasesAlone) {
    PostgresServer server;
    const PostgresDatabase others(server, {.name = "app_core_db"});
    EXPECT_NE(run({"--database", server.url("")}).exit, 0);
    EXPECT_EQ(run_postgres(server.url(),
                           "SELECT string_agg(datname, ',') FROM pg_database "
                           "WHERE datname ~ 'app_'"),
              "app_core_db");
}

TEST_F(UserDirectoryScriptTest, BringsAServerOfItsOwn) { expect_proof(run({})); }

}  // namespace
}  // namespace instep::test
