#include "instep/config/service_file.hpp"

#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

namespace instep {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

using namespace std::chrono_literals;

/// Six lines; what a case adds begins in line 7.
constexpr std::string_view kHeader = R"(# comment
[service]
name = "iam"
database = "sqlite:iam.db"
broker = "embedded:broker.db"

)";

class ServiceFileTest : public testing::Test {
protected:
    [[nodiscard]] Result<ServiceConfig> parse(std::string_view text) const {
        return parse_service_file(text, "/srv/iam/iam.toml", [this](const std::string& name) {
            const auto found = variables_.find(name);
            return found == variables_.end() ? std::nullopt
                                             : std::optional<std::string>(found->second);
        });
    }

    [[nodiscard]] Result<ServiceConfig> parse_with(std::string_view rest) const {
        return parse(std::string(kHeader).append(rest));
    }

    /// The message behind the file's name.
    static std::string error_of(const Result<ServiceConfig>& config) {
        if (config) {
            return "no error";
        }
        EXPECT_EQ(config.error().code, ErrorCode::kConfigInvalid) << config.error().message;
        const std::string_view message = config.error().message;
        EXPECT_TRUE(message.starts_with("/srv/iam/iam.toml:")) << message;
        return std::string(message.substr(message.find(':') + 1));
    }

    [[nodiscard]] std::string error_in(std::string_view text) const {
        return error_of(parse(text));
    }

    /// The error of a file that is sound up to line 6.
    [[nodiscard]] std::string error_behind(std::string_view rest) const {
        return error_of(parse_with(rest));
    }

    std::map<std::string, std::string> variables_;
};

TEST_F(ServiceFileTest, ReadsAServiceThatPublishes) {
    const auto config = parse_with(R"([[publish]]
table = "users"
entity = "user"
key = "id"
columns = ["id", "username", "email"]
personal = ["email"]
)");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->path, "/srv/iam/iam.toml");
    EXPECT_EQ(config->name, "iam");
    ASSERT_EQ(config->publish.size(), 1U);
    EXPECT_EQ(config->publish[0].table, "users");
    EXPECT_EQ(config->publish[0].entity, "user");
    EXPECT_THAT(config->publish[0].key, ElementsAre("id"));
    EXPECT_THAT(config->publish[0].columns, ElementsAre("id", "username", "email"));
    EXPECT_THAT(config->publish[0].personal, ElementsAre("email"));
    EXPECT_THAT(config->replicas, IsEmpty());
}

TEST_F(ServiceFileTest, ReadsReplicasWithAllSomeAndRenamedColumns) {
    const auto config = parse_with(R"([[replica]]
topic = "crm.customer"
table = "customers"

[[replica]]
topic = "hr.person"
table = "people"
columns = ["id", "name"]

[[replica]]
topic = "hr.team"
table = "teams"
columns = { id = "team_id", title = "name" }
)");
    ASSERT_TRUE(config) << config.error().message;
    ASSERT_EQ(config->replicas.size(), 3U);
    EXPECT_EQ(config->replicas[0].service, "iam");
    EXPECT_EQ(config->replicas[0].topic, "crm.customer");
    EXPECT_EQ(config->replicas[0].table, "customers");
    EXPECT_THAT(config->replicas[0].columns, IsEmpty());
    EXPECT_THAT(config->replicas[1].columns, ElementsAre(Pair("id", "id"), Pair("name", "name")));
    EXPECT_THAT(config->replicas[2].columns,
                ElementsAre(Pair("id", "team_id"), Pair("title", "name")));
}

TEST_F(ServiceFileTest, FillsInTheDefaultsThatTheStructHas) {
    const auto config = parse_with("[[publish]]\ntable = 'a'\nentity = 'a'\ncolumns = ['id']\n");
    ASSERT_TRUE(config) << config.error().message;
    const ServiceConfig plain;
    EXPECT_EQ(config->partitions, plain.partitions);
    EXPECT_EQ(config->log_retention, plain.log_retention);
    EXPECT_EQ(config->broker_retention, plain.broker_retention);
    EXPECT_EQ(config->memory_retention, plain.memory_retention);
    EXPECT_THAT(config->publish[0].key, ElementsAre("id"));
    EXPECT_THAT(config->publish[0].personal, IsEmpty());
}

TEST_F(ServiceFileTest, ReadsDurationsInEveryUnit) {
    const auto config = parse(
        "[service]\nname = 'a'\ndatabase = 'sqlite:a'\nbroker = 'embedded:b'\n"
        "log_retention = '90s'\nbroker_retention = '15m'\nmemory_retention = '7d'\n");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->log_retention, 90s);
    EXPECT_EQ(config->broker_retention, 15min);
    EXPECT_EQ(config->memory_retention, 168h);
}

TEST_F(ServiceFileTest, TakesRelativePathsFromTheFolderOfTheFile) {
    const auto config = parse(
        "[service]\nname = 'a'\ndatabase = 'sqlite:data/../a.db'\nbroker = 'embedded:../b.db'\n");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->database, "sqlite:/srv/iam/a.db");
    EXPECT_EQ(config->broker, "embedded:/srv/b.db");
}

TEST_F(ServiceFileTest, LeavesAbsolutePathsAndOtherUrlsAlone) {
    const auto config = parse(
        "[service]\nname = 'a'\ndatabase = 'sqlite:///var/a.db'\nbroker = 'redis://h:6379'\n");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->database, "sqlite:///var/a.db");
    EXPECT_EQ(config->broker, "redis://h:6379");
}

TEST_F(ServiceFileTest, ReplacesVariablesAndTheirDefaults) {
    variables_ = {{"NAME", "iam"}, {"EMPTY", ""}};
    const auto config = parse(
        "[service]\nname = '${NAME}'\ndatabase = 'sqlite:/${EMPTY:-d}/$${x}$'\n"
        "broker = 'embedded:/${NONE:-b.db}'\nlog_retention = '${NONE:-2}h'\n"
        "[[publish]]\ntable = 't'\nentity = 'e'\ncolumns = ['${NONE:-id}']\n");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->name, "iam");
    EXPECT_EQ(config->database, "sqlite:/d/${x}$");
    EXPECT_EQ(config->broker, "embedded:/b.db");
    EXPECT_EQ(config->log_retention, 2h);
    EXPECT_THAT(config->publish[0].columns, ElementsAre("id"));
}

TEST_F(ServiceFileTest, SaysWhatIsWrongWithAVariable) {
    EXPECT_EQ(error_in("[service]\nname = '${NAME}'\ndatabase = 'a'\nbroker = 'b'\n"),
              "2:8: the environment variable NAME is not set; set it, or write ${NAME:-default}");
    EXPECT_THAT(error_behind("[[replica]]\ntopic = 'a.b'\ntable = 't'\ncolumns = ['a', '${B']\n"),
                HasSubstr("10:17: ${ without }"));
    EXPECT_THAT(error_behind("[[replica]]\ntopic = '${1}'\ntable = 't'\n"),
                HasSubstr("8:9: \"1\" is no name of an environment variable"));
}

TEST_F(ServiceFileTest, ReadsAUrlFromAFileOfItsOwn) {
    const test::TempDir dir;
    std::ofstream(dir.file("url")) << "sqlite:secret-${NOT_EXPANDED}.db\n";
    std::ofstream(dir.file("iam.toml"))
        << "[service]\nname = 'a'\ndatabase_file = 'url'\nbroker = 'embedded:b.db'\n";
    const auto config = load_service_file(dir.file("iam.toml"), process_environment());
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->database, "sqlite:" + dir.file("secret-${NOT_EXPANDED}.db"));
}

TEST_F(ServiceFileTest, SaysWhyAFileWithAUrlCannotBeRead) {
    EXPECT_EQ(error_in("[service]\nname = 'a'\ndatabase_file = '/none/x'\nbroker = 'embedded:b'\n"),
              "3:17: /none/x cannot be read: No such file or directory");
    EXPECT_EQ(error_in("[service]\nname = 'a'\ndatabase = 'sqlite:a'\ndatabase_file = '/none/x'\n"
                       "broker = 'embedded:b'\n"),
              "4:1: both database and database_file are set; keep one");
}

TEST_F(ServiceFileTest, SaysWhereTheTextStopsBeingToml) {
    EXPECT_THAT(error_in("[service]\nname = \n"), HasSubstr("2:8: this is not TOML: "));
    EXPECT_THAT(error_in("[service]\nname = 'a'\nname = 'b'\n"),
                HasSubstr("3:8: this is not TOML: "));
    EXPECT_THAT(error_in("[service]\nname = \"\xff\"\n"), HasSubstr("2:8: this is not TOML: "));
}

TEST_F(ServiceFileTest, NamesTheNearestTableOrSetting) {
    EXPECT_EQ(error_in("[servcie]\n"),
              "1:2: there is no table \"servcie\"; did you mean \"service\"?");
    EXPECT_EQ(error_behind("[[zzzzzzzzzz]]\n"),
              "7:3: there is no table \"zzzzzzzzzz\"; the tables are [service], [[publish]], "
              "[[replica]] and [[subscription]]");
    EXPECT_EQ(error_in("[service]\nname = 'a'\n  databse = 'sqlite:a'\n"),
              "3:3: [service] has no setting \"databse\"; did you mean \"database\"?");
    EXPECT_EQ(error_behind("[[publish]]\ntable = 'a'\nentiti = 'a'\n"),
              "9:1: [[publish]] has no setting \"entiti\"; did you mean \"entity\"?");
    EXPECT_EQ(error_behind("[[replica]]\nqqqqqqqq = 'a'\n"),
              "8:1: [[replica]] has no setting \"qqqqqqqq\"; it knows topic, table, columns, "
              "apply");
}

TEST_F(ServiceFileTest, ReadsSubscriptions) {
    const std::string service =
        "[service]\nname = 'mail'\ndatabase = 'sqlite:/m.db'\nbroker = 'embedded:/b.db'\n";
    const auto config =
        parse(service +
              "[[subscription]]\nname = 'orders'\ntopic = 'shop.order'\n"
              "[[subscription]]\nname = 'own'\ntopic = 'mail.sent'\nstart = 'latest'\n"
              "attempts = 0\nretry_first = '2s'\nretry_max = '1h'\n");
    ASSERT_TRUE(config) << config.error().message;
    ASSERT_EQ(config->subscriptions.size(), 2U);
    EXPECT_EQ(config->subscriptions[0].attempts_max, 10U);
    EXPECT_EQ(config->subscriptions[0].start_at, StartAt::kEarliest);
    EXPECT_EQ(config->subscriptions[0].retry_max, 5min);
    EXPECT_EQ(config->subscriptions[1].attempts_max, 0U);
    EXPECT_EQ(config->subscriptions[1].start_at, StartAt::kLatest);
    EXPECT_EQ(config->subscriptions[1].retry_first, 2s);
}

TEST_F(ServiceFileTest, RefusesSubscriptionsThatCannotBe) {
    const std::string one = "[[subscription]]\nname = 'a'\ntopic = 'b.c'\n";
    EXPECT_THAT(error_behind(one + one), HasSubstr("listed twice"));
    EXPECT_THAT(error_behind(one + "start = 'now'\n"), HasSubstr("\"earliest\" or \"latest\""));
    EXPECT_THAT(error_behind(one + "retry_first = '10m'\n"),
                HasSubstr("retry_max must be at least retry_first"));
    EXPECT_THAT(error_behind("[[replica]]\ntopic = 'b.c'\ntable = 'a'\n" + one),
                HasSubstr("choose another"));
}

TEST_F(ServiceFileTest, ReadsWhereTheServiceShowsItself) {
    EXPECT_EQ(parse_with("").value().listen, "");
    EXPECT_EQ(parse_with("").value().otlp, "");
    const auto config = parse_with("listen = '[::1]:9464'\notlp = 'http://127.0.0.1:4318'").value();
    EXPECT_EQ(parse_with("").value().contract, "");
    EXPECT_EQ(parse_with("contract = 'iam.json'").value().contract, "/srv/iam/iam.json");
    EXPECT_EQ(config.listen, "[::1]:9464");
    EXPECT_EQ(config.otlp, "http://127.0.0.1:4318");
}

TEST_F(ServiceFileTest, RefusesPlacesThatNobodyCanBeAt) {
    EXPECT_EQ(error_behind("listen = '9464'"),
              "7:10: \"9464\" is no address to listen on; write it as 127.0.0.1:9464 or "
              "[::1]:9464");
    EXPECT_EQ(error_behind("otlp = '127.0.0.1:4318'"),
              "7:8: \"127.0.0.1:4318\" is no URL of a server; write it as http://127.0.0.1:4318");
}

TEST_F(ServiceFileTest, ReadsWhatHoldsSubscriptionsBack) {
    const std::string one = "[[subscription]]\nname = 'a'\ntopic = 'b.c'\n";
    const auto plain = parse_with(one);
    ASSERT_TRUE(plain) << plain.error().message;
    EXPECT_EQ(plain->subscriptions[0].on_failure, OnFailure::kBlockKey);
    EXPECT_EQ(plain->subscriptions[0].crashes_max, 3U);
    EXPECT_EQ(plain->subscriptions[0].circuit_failures, 5U);
    EXPECT_EQ(plain->subscriptions[0].rate_limit, 0U);
    const auto config = parse_with(
        one +
        "on_failure = 'stop_flow'\ncrashes = 0\ncircuit_failures = 2\ncircuit_open_for = '7s'\n"
        "rate_limit = 50\nparked_keys_max = 8\nparked_mib_max = 2\nslow_after = '2m'\n");
    ASSERT_TRUE(config) << config.error().message;
    const SubscriptionEntry& entry = config->subscriptions[0];
    EXPECT_EQ(entry.on_failure, OnFailure::kStopFlow);
    EXPECT_EQ(entry.crashes_max, 0U);
    EXPECT_EQ(entry.circuit_failures, 2U);
    EXPECT_EQ(entry.circuit_open_for, 7s);
    EXPECT_EQ(entry.rate_limit, 50U);
    EXPECT_EQ(entry.parked_keys_max, 8U);
    EXPECT_EQ(entry.parked_mib_max, 2U);
    EXPECT_EQ(entry.slow_after, 2min);
    EXPECT_THAT(error_behind(one + "on_failure = 'ignore'\n"), HasSubstr("\"skip\""));
    EXPECT_THAT(error_behind(one + "on_failure = 'skip'\nattempts = 0\n"),
                HasSubstr("never skipped"));
}

TEST_F(ServiceFileTest, ReadsPoliciesForClassesOfErrors) {
    const auto config = parse_with(
        "[[subscription]]\nname = 'a'\ntopic = 'b.c'\nattempts = 3\nretry_first = '2s'\n"
        "[[subscription.on]]\nerror = ['timeout', 'busy']\nattempts = 0\nretry_max = '1h'\n"
        "[[subscription.on]]\nerror = 'corrupt'\non_failure = 'skip'\n"
        "[[subscription]]\nname = 'd'\ntopic = 'b.c'\n");
    ASSERT_TRUE(config) << config.error().message;
    const auto& policies = config->subscriptions[0].policies;
    ASSERT_EQ(policies.size(), 3U);
    const FailurePolicy longer{{.initial = 2s, .max = 1h}, 0, OnFailure::kBlockKey};
    EXPECT_EQ(policies.at(ErrorCode::kTimeout), longer);
    EXPECT_EQ(policies.at(ErrorCode::kBusy), longer);
    const FailurePolicy skipped{{.initial = 2s, .max = 5min}, 3, OnFailure::kSkip};
    EXPECT_EQ(policies.at(ErrorCode::kCorrupt), skipped);
    EXPECT_TRUE(config->subscriptions[1].policies.empty());
}

TEST_F(ServiceFileTest, RefusesPoliciesThatCannotBe) {
    const std::string one = "[[subscription]]\nname = 'a'\ntopic = 'b.c'\n";
    const std::string on = one + "[[subscription.on]]\n";
    EXPECT_EQ(error_behind(on + "error = 'timout'\n"),
              "11:9: there is no class of errors \"timout\"; did you mean \"timeout\"?");
    EXPECT_THAT(error_behind(on + "error = 'mail server'\n"), HasSubstr("there are invalid_arg"));
    EXPECT_THAT(error_behind(on + "error = ['busy', 'busy']\n"), HasSubstr("listed twice"));
    EXPECT_EQ(error_behind(on + "attempts = 3\n"), "10:1: [[subscription.on]] needs error");
    EXPECT_THAT(error_behind(on + "error = 'busy'\ncrashes = 1\n"), HasSubstr("no setting"));
    EXPECT_THAT(error_behind(on + "error = 'busy'\nretry_first = '1h'\n"),
                HasSubstr("retry_max must be at least retry_first, 1h; it is 5m"));
    EXPECT_THAT(error_behind(on + "error = 'busy'\nattempts = 0\non_failure = 'skip'\n"),
                HasSubstr("never skipped"));
    EXPECT_THAT(error_behind(one + "on_failure = 'skip'\n[[subscription.on]]\nerror = 'busy'\n"
                                   "attempts = 0\n"),
                HasSubstr("needs an end"));
    EXPECT_EQ(error_behind(one + "on = 'busy'\n"),
              "10:6: write it as [[subscription.on]]; this is text");
    EXPECT_THAT(error_behind(one + "[subscription.on]\nerror = 'busy'\n"),
                HasSubstr("write it as [[subscription.on]]; this is a table"));
}

TEST_F(ServiceFileTest, SaysWhatIsMissing) {
    EXPECT_EQ(error_in(""), "1:1: there is no [service] table; begin the file with [service]");
    EXPECT_EQ(error_in("\n[service]\ndatabase = 'sqlite:a'\n"), "2:1: [service] needs name");
    EXPECT_EQ(error_in("[service]\nname = 'a'\nbroker = 'embedded:b'\n"),
              "1:1: [service] needs database or database_file");
    EXPECT_EQ(error_behind("[[publish]]\ntable = 'a'\ncolumns = ['id']\n"),
              "7:1: [[publish]] needs entity");
    EXPECT_EQ(error_behind("[[replica]]\ntopic = 'a.b'\ntable = 'a'\n\n[[replica]]\n"
                           "topic = 'a.c'\n"),
              "11:1: [[replica]] needs table");
}

TEST_F(ServiceFileTest, SaysWhichTypeWasExpected) {
    EXPECT_EQ(error_in("[service]\nname = 1\n"), "2:8: name must be text; this is an integer");
    EXPECT_EQ(error_behind("partitions = 2.5\n"),
              "7:14: partitions must be an integer from 1 to 64; this is a number with a point");
    EXPECT_EQ(error_behind("log_retention = 24\n"),
              "7:17: log_retention must be a duration from \"1s\" to \"3650d\", in s, m, h or d; "
              "this is an integer");
    EXPECT_EQ(error_behind("[[publish]]\ntable = 'a'\nentity = 'a'\ncolumns = 'id'\n"),
              "10:11: columns must be a list of text; this is text");
    EXPECT_EQ(error_behind("[[publish]]\ntable = 'a'\nentity = 'a'\ncolumns = ['id', true]\n"),
              "10:18: columns must be a list of text; this is true or false");
    EXPECT_EQ(error_behind("[[publish]]\ntable = 'a'\nentity = 'a'\nkey = {}\n"),
              "10:7: key must be text or list of text; this is a table");
    EXPECT_EQ(error_behind("[[replica]]\ntopic = 'a.b'\ntable = 'a'\ncolumns = { a = 1979-05-27 }"),
              "10:17: columns must be a list or table of text; this is a date or time");
    EXPECT_EQ(error_in("service = 1\n"),
              "1:11: service must be a table, written under [service]; this is an integer");
    EXPECT_EQ(error_behind("[publish]\ntable = 'a'\n"),
              "7:1: write [[publish]], not [publish]: there may be several");
    EXPECT_EQ(error_in("replica = [1]\n[service]\nname='a'\ndatabase='x:a'\nbroker='x:a'\n"),
              "1:12: replica must be a table, written under [[replica]]; this is an integer");
}

TEST_F(ServiceFileTest, SaysWhatIsOutOfBounds) {
    EXPECT_EQ(error_behind("capture = \"log\"\n"),
              "7:11: capture must be \"triggers\" or \"wal\"; this is \"log\"");
    EXPECT_EQ(error_behind("capture = \"wal\"\n"),
              "7:11: capture = \"wal\" needs a PostgreSQL database; use \"triggers\"");
    EXPECT_EQ(error_behind("partitions = 65\n"),
              "7:14: partitions must be an integer from 1 to 64; this is 65");
    EXPECT_EQ(error_behind("partitions = 0\n"),
              "7:14: partitions must be an integer from 1 to 64; this is 0");
    for (const std::string_view bad :
         {"", "24", "h", "1.5h", "-1h", "1w", "1h ", "0s", "3651d", "99999999999999999999s"}) {
        EXPECT_EQ(error_behind("log_retention = '" + std::string(bad) + "'\n"),
                  "7:17: log_retention must be a duration from \"1s\" to \"3650d\", in s, m, h or "
                  "d; this is \"" +
                      std::string(bad) + "\"");
    }
}

TEST_F(ServiceFileTest, BindsReplicasToWholeTransactions) {
    const std::string publish = "[[publish]]\ntable = 'a'\nentity = 'order'\ncolumns = ['id']\n";
    const std::string replica = "[[replica]]\ntopic = 'shop.line'\ntable = 'lines'\n";
    const auto config =
        parse_with("transactions = ['order']\n" + publish + replica + "apply = 'transaction'\n");
    ASSERT_TRUE(config);
    EXPECT_THAT(config->transactions, ElementsAre("order"));
    EXPECT_EQ(config->replicas.front().subscription(), "iam.shop.transactions");
    EXPECT_EQ(config->replicas.front().address(), "iam.lines");
    EXPECT_EQ(parse_with(replica)->replicas.front().subscription(), "iam.lines");

    EXPECT_EQ(error_behind("transactions = ['oder']\n" + publish),
              "7:17: transactions names \"oder\", which no [[publish]] has as its entity; did you "
              "mean \"order\"?");
    EXPECT_EQ(error_behind("transactions = ['order', 'order']\n" + publish),
              "7:26: entity \"order\" is listed twice, first in line 7");
    EXPECT_EQ(error_behind("partitions = 2\ntransactions = ['order']\n" + publish),
              "7:14: transactions needs partitions = 1, for a transaction may change keys of any "
              "partition; this is 2");
    EXPECT_EQ(error_behind(replica + "apply = 'all'\n"),
              "10:9: apply must be \"key\" or \"transaction\"; this is \"all\"");
    EXPECT_EQ(error_behind("[[publish]]\ntable = 'a'\nentity = 'transactions'\ncolumns = ['id']\n"),
              "9:10: the topic iam.transactions is that of whole transactions; call the entity "
              "otherwise");
}

TEST_F(ServiceFileTest, KeepsMemoryLongerThanAnythingCanComeBack) {
    EXPECT_EQ(error_behind("log_retention = '2d'\nmemory_retention = '3h'\n"),
              "8:20: memory_retention must be at least log_retention and broker_retention "
              "together, 3d; it is 3h");
    EXPECT_THAT(error_behind("log_retention = '7d'\n"), HasSubstr("7:17: memory_retention must"));
    EXPECT_THAT(error_behind("log_retention = '1h'\nbroker_retention = '7d'\n"),
                HasSubstr("8:20: memory_retention must"));
    EXPECT_TRUE(parse_with("log_retention = '2d'\nmemory_retention = '3d'\n"));
}

TEST_F(ServiceFileTest, RefusesNamesThatTopicsCannotHave) {
    const auto service_error = [&](const std::string& name) {
        return error_in("[service]\nname = '" + name +
                        "'\ndatabase = 'sqlite:a'\nbroker = 'embedded:b'\n");
    };
    for (const std::string& bad : {std::string(), std::string("IAM"), std::string("a.b"),
                                   std::string("a b"), std::string(65, 'a')}) {
        EXPECT_EQ(service_error(bad),
                  "2:8: name must be 1 to 64 lower-case letters, digits, - and _; this is \"" +
                      bad + "\"");
    }
    EXPECT_EQ(service_error("user-directory_2"), "no error");
    EXPECT_EQ(error_behind("[[publish]]\ntable = 'a'\nentity = 'a-b'\ncolumns = ['id']\n"),
              "9:10: entity must be 1 to 64 lower-case letters, digits and _, and not "
              "\"requests\"; this is \"a-b\"");
    EXPECT_THAT(error_behind("[[publish]]\ntable = 'a'\nentity = 'requests'\ncolumns = ['id']\n"),
                HasSubstr("9:10: entity must be"));
    for (const std::string bad : {"", "iamuser", "iam.", ".user", "Iam.user", "a.b.c"}) {
        EXPECT_EQ(error_behind("[[replica]]\ntable = 'a'\ntopic = '" + bad + "'\n"),
                  "9:9: topic must be owner.entity, such as \"iam.user\", each of lower-case "
                  "letters, digits, - and _; this is \"" +
                      bad + "\"");
    }
    EXPECT_EQ(error_behind("[[replica]]\ntopic = 'a.b'\ntable = 'instep_log'\n"),
              "9:9: table must be a table of the service, none that begins with instep_; this is "
              "\"instep_log\"");
}

TEST_F(ServiceFileTest, NeedsNoBroker) {
    const std::string text = "[service]\nname = 'a'\ndatabase = 'sqlite:a.db'\n";
    EXPECT_EQ(parse(text)->broker, "direct:");
    EXPECT_EQ(parse(text + "broker = 'direct:'\n")->broker, "direct:");
    EXPECT_EQ(parse(text + "broker = 'direct:iam.toml,../shop/shop.toml'\n")->broker,
              "direct:/srv/iam/iam.toml,/srv/shop/shop.toml");
    EXPECT_THAT(error_in(text + "partitions = 2\n"), HasSubstr("without a broker partitions must"));
    EXPECT_THAT(error_in("[service]\nname = 'a'\ndatabase = 'postgresql:///a'\n"
                         "capture = 'wal'\n"),
                HasSubstr("needs a broker"));
}

TEST_F(ServiceFileTest, RefusesAReplicaOfItsOwnTopic) {
    EXPECT_EQ(error_behind("[[replica]]\ntopic = 'iam.user'\ntable = 'a'\n"),
              "8:9: iam.user is a topic of this service; a replica follows another service's");
}

TEST_F(ServiceFileTest, RefusesWhatIsListedTwice) {
    const std::string users = "[[publish]]\ntable = 'users'\nentity = 'user'\ncolumns = ['id']\n";
    EXPECT_EQ(error_behind(users + "[[publish]]\ntable = 'users'\nentity = 'b'\ncolumns = ['id']"),
              "12:9: table \"users\" is listed twice, first in line 8");
    EXPECT_EQ(error_behind(users + "[[publish]]\ntable = 'b'\nentity = 'user'\ncolumns = ['id']"),
              "13:10: entity \"user\" is listed twice, first in line 9");
    EXPECT_EQ(error_behind("[[replica]]\ntopic = 'a.b'\ntable = 't'\n"
                           "[[replica]]\ntopic = 'a.c'\ntable = 't'\n"),
              "12:9: table \"t\" is listed twice, first in line 9");
    EXPECT_EQ(
        error_behind("[[publish]]\ntable = 'a'\nentity = 'a'\ncolumns = [\n  'id',\n  'id',\n]\n"),
        "12:3: column \"id\" is listed twice, first in line 11");
    EXPECT_EQ(error_behind("[[replica]]\ntopic = 'a.b'\ntable = 't'\n"
                           "columns = { id = 'x', name = 'x' }\n"),
              "10:30: column \"x\" is listed twice, first in line 10");
}

TEST_F(ServiceFileTest, RefusesColumnsThatAreOursOrNone) {
    EXPECT_EQ(error_behind("[[replica]]\ntopic = 'a.b'\ntable = 't'\n"
                           "columns = { id = 'instep_version' }\n"),
              "10:18: a column has a name, none that begins with instep_; this is "
              "\"instep_version\"");
    EXPECT_THAT(error_behind("[[replica]]\ntopic = 'a.b'\ntable = 't'\ncolumns = { id = '' }\n"),
                HasSubstr("10:18: a column has a name"));
    EXPECT_THAT(error_behind("[[publish]]\ntable = 'a'\nentity = 'a'\n"
                             "columns = ['id', 'instep_version']\n"),
                HasSubstr("10:18: a column has a name"));
}

TEST_F(ServiceFileTest, TellsThePlaceOfATableWhoseDefaultDoesNotFit) {
    EXPECT_EQ(error_behind("[[publish]]\ntable = 'a'\nentity = 'a'\ncolumns = ['number']\n"),
              "7:1: key names \"id\", which is not among columns");
}

TEST_F(ServiceFileTest, RefusesKeysAndPersonalColumnsThatAreNotPublished) {
    const std::string entry = "[[publish]]\ntable = 'a'\nentity = 'a'\ncolumns = ['id', 'email']\n";
    EXPECT_EQ(error_behind(entry + "key = ['id', 'emial']\n"),
              "11:14: key names \"emial\", which is not among columns; did you mean \"email\"?");
    EXPECT_EQ(error_behind(entry + "personal = ['password_hash']\n"),
              "11:13: personal names \"password_hash\", which is not among columns");
    EXPECT_EQ(error_behind(entry + "key = []\n"), "11:7: key must name a column");
    EXPECT_EQ(error_behind("[[publish]]\ntable = 'a'\nentity = 'a'\nkey = []\ncolumns = []\n"),
              "11:11: columns must name a column");
    EXPECT_EQ(error_behind("[[replica]]\ntopic = 'a.b'\ntable = 't'\ncolumns = []\n"),
              "10:11: columns must name a column; leave it out to keep all");
}

TEST_F(ServiceFileTest, RefusesUrlsWithoutASchemeAndShowsNoPassword) {
    EXPECT_EQ(error_in("[service]\nname = 'a'\ndatabase = 'iam.db'\nbroker = 'embedded:b'\n"),
              "3:12: database must be a URL such as \"sqlite:iam.db\"; this is \"iam.db\"");
    EXPECT_EQ(error_in("[service]\nname = 'a'\ndatabase = 'sqlite:a'\nbroker = 'embedded:'\n"),
              "4:10: broker must be a URL such as \"embedded:broker.db\"; this is \"embedded:\"");
    EXPECT_THAT(error_in("[service]\nname = 'a'\ndatabase = 'Pg://u:hunter2@h/db'\n"
                         "broker = 'embedded:b'\n"),
                testing::AllOf(HasSubstr("3:12: database must be a URL"),
                               testing::Not(HasSubstr("hunter2"))));
}

TEST_F(ServiceFileTest, ReportsAFileThatIsNotThere) {
    const auto config = load_service_file("/none/iam.toml", process_environment());
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(config.error().message, "/none/iam.toml cannot be read: No such file or directory");
}

TEST_F(ServiceFileTest, ReportsADirectory) {
    const test::TempDir dir;
    const auto config = load_service_file(dir.path().string(), process_environment());
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error(), (Error{ErrorCode::kConfigInvalid,
                                     dir.path().string() + " is a directory; name a file"}));
}

TEST_F(ServiceFileTest, ReportsAFileThatIsTooLarge) {
    const test::TempDir dir;
    std::ofstream(dir.file("big.toml")) << std::string(1024U * 1024 + 1, '#');
    const auto config = load_service_file(dir.file("big.toml"), process_environment());
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error(),
              (Error{ErrorCode::kConfigInvalid,
                     dir.file("big.toml") + " is larger than 1024 KiB; name a text file"}));
}

}  // namespace
}  // namespace instep
