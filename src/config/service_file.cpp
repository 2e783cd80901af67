#include "instep/config/service_file.hpp"

#include "instep/http/client.hpp"
#include "instep/http/listener.hpp"
#include "instep/log/boundary.hpp"
#include "instep/telemetry/redact.hpp"
#include "table_reader.hpp"
#include "text_file.hpp"
#include "toml_document.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

namespace instep {

namespace {

constexpr std::size_t kServiceFileBytesMax = 1024U * 1024;
constexpr std::size_t kContractFileBytesMax = 8U * 1024 * 1024;
constexpr std::size_t kValueFileBytesMax = 64U * 1024;
constexpr std::size_t kNameCharactersMax = 64;

/// What every table and column that is ours begins with.
constexpr std::string_view kOwnPrefix = "instep_";

/// A service without a broker.
constexpr std::string_view kDirect = "direct:";

/// The entity whose topic would be the one that requests to the service go to.
constexpr std::string_view kRequests = "requests";

bool is_name(std::string_view text, std::string_view marks) {
    return !text.empty() && text.size() <= kNameCharactersMax &&
           std::ranges::all_of(text, [&](char c) {
               return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || marks.contains(c);
           });
}

/// Names that may be given only once in the file.
class OnceOnly {
public:
    Result<void> add(const SourceFile& file, std::string_view what, const PlacedText& name) {
        const auto [first, is_new] = seen_.emplace(name.text, name.position);
        if (!is_new) {
            return file.error(name.position,
                              fmt::format("{} \"{}\" is listed twice, first in line {}", what,
                                          name.text, first->second.line));
        }
        return {};
    }

private:
    std::map<std::string, FilePosition> seen_;
};

class ServiceFileReader {
public:
    ServiceFileReader(const SourceFile& file, const Environment& environment)
        : file_(file), environment_(environment) {
        std::error_code ignored;
        folder_ = std::filesystem::absolute(file.path(), ignored).parent_path();
        config_.path = file.path();
    }

    Result<ServiceConfig> read(const TomlTable& root) {
        INSTEP_TRY(check_tables(root));
        const TomlValue* service = find(root, "service");
        if (service == nullptr) {
            return file_.error({}, "there is no [service] table; begin the file with [service]");
        }
        INSTEP_TRY(read_service(*service));
        INSTEP_TRY(read_each(root, "publish", &ServiceFileReader::read_publish));
        INSTEP_TRY(check_transactions());
        INSTEP_TRY(read_each(root, "replica", &ServiceFileReader::read_replica));
        INSTEP_TRY(read_each(root, "subscription", &ServiceFileReader::read_subscription));
        return std::move(config_);
    }

private:
    using ReadEntry = Result<void> (ServiceFileReader::*)(const TableReader&);

    static const TomlValue* find(const TomlTable& root, std::string_view key) {
        const auto found = std::ranges::find(root, key, &TomlEntry::key);
        return found == root.end() ? nullptr : &found->value;
    }

    Result<void> check_tables(const TomlTable& root) const {
        const std::vector<std::string> known = {"service", "publish", "replica", "subscription"};
        for (const TomlEntry& entry : root) {
            if (std::ranges::find(known, entry.key) == known.end()) {
                const std::string nearest = nearest_name(entry.key, known);
                return file_.error(
                    entry.position,
                    fmt::format("there is no table \"{}\"; {}", entry.key,
                                nearest.empty() ? "the tables are [service], [[publish]], "
                                                  "[[replica]] and [[subscription]]"
                                                : fmt::format("did you mean \"{}\"?", nearest)));
            }
        }
        return {};
    }

    Result<void> read_each(const TomlTable& root, std::string_view name, ReadEntry read_entry) {
        const TomlValue* entries = find(root, name);
        if (entries == nullptr) {
            return {};
        }
        const auto* list = std::get_if<TomlList>(&entries->value);
        if (list == nullptr) {
            return file_.error(entries->position, fmt::format("write [[{0}]], not [{0}]: there may "
                                                              "be several",
                                                              name));
        }
        for (const TomlValue& entry : *list) {
            INSTEP_TRY_ASSIGN(const TableReader table,
                              TableReader::open(name, entry, file_, environment_));
            INSTEP_TRY((this->*read_entry)(table));
        }
        return {};
    }

    Result<void> read_service(const TomlValue& service) {
        INSTEP_TRY_ASSIGN(const TableReader table,
                          TableReader::open("service", service, file_, environment_));
        INSTEP_TRY_ASSIGN(const PlacedText name, table.text("name"));
        if (!is_name(name.text, "-_")) {
            return table.error("name", fmt::format("name must be 1 to {} lower-case letters, "
                                                   "digits, - and _; this is \"{}\"",
                                                   kNameCharactersMax, name.text));
        }
        config_.name = name.text;
        INSTEP_TRY_ASSIGN(config_.database, read_url(table, "database", "sqlite:iam.db"));
        INSTEP_TRY(read_broker(table));
        INSTEP_TRY_ASSIGN(const std::int64_t partitions, table.integer("partitions"));
        config_.partitions = static_cast<std::uint32_t>(partitions);
        INSTEP_TRY(read_capture(table));
        INSTEP_TRY(check_direct(table));
        INSTEP_TRY_ASSIGN(const std::int64_t rows, table.integer("scan_rows_per_second"));
        config_.scan_rows_per_second = static_cast<std::uint32_t>(rows);
        INSTEP_TRY(read_transactions(table));
        if (table.has("contract")) {
            INSTEP_TRY_ASSIGN(const PlacedText contract, table.text("contract"));
            config_.contract = (folder_ / contract.text).lexically_normal();
        }
        INSTEP_TRY(read_monitoring(table));
        INSTEP_TRY_ASSIGN(config_.log_retention, table.duration("log_retention"));
        INSTEP_TRY_ASSIGN(config_.broker_retention, table.duration("broker_retention"));
        INSTEP_TRY_ASSIGN(config_.memory_retention, table.duration("memory_retention"));
        return check_memory(table);
    }

    /// Without one, followers read the log themselves.
    Result<void> read_broker(const TableReader& service) {
        if (!service.has("broker") && !service.has("broker_file")) {
            config_.broker = kDirect;
            return {};
        }
        if (service.has("broker")) {
            INSTEP_TRY_ASSIGN(const PlacedText broker, service.text("broker"));
            if (broker.text.starts_with(kDirect)) {
                config_.broker = with_absolute_files(broker.text);
                return {};
            }
        }
        INSTEP_TRY_ASSIGN(config_.broker, read_url(service, "broker", "embedded:broker.db"));
        return {};
    }

    /// "direct:" and service files, with commas between them.
    [[nodiscard]] std::string with_absolute_files(std::string_view broker) const {
        std::string absolute(kDirect);
        std::string_view files = broker.substr(kDirect.size());
        while (!files.empty()) {
            const std::size_t end = std::min(files.find(','), files.size());
            const std::string file((folder_ / files.substr(0, end)).lexically_normal());
            absolute += absolute.size() == kDirect.size() ? file : "," + file;
            files.remove_prefix(std::min(end + 1, files.size()));
        }
        return absolute;
    }

    Result<void> check_direct(const TableReader& service) const {
        if (!config_.broker.starts_with(kDirect)) {
            return {};
        }
        if (config_.partitions != 1) {
            return service.error("partitions",
                                 fmt::format("without a broker partitions must be 1, for a log is "
                                             "read in one piece; this is {}",
                                             config_.partitions));
        }
        if (config_.capture == CaptureBy::kWal) {
            return service.error("capture",
                                 "capture = \"wal\" needs a broker: the write-ahead log has one "
                                 "reader; use \"triggers\"");
        }
        return {};
    }

    Result<void> read_capture(const TableReader& service) {
        INSTEP_TRY_ASSIGN(const PlacedText capture, service.text("capture"));
        if (capture.text != "triggers" && capture.text != "wal") {
            return service.error("capture",
                                 fmt::format("capture must be \"triggers\" or \"wal\"; this is "
                                             "\"{}\"",
                                             capture.text));
        }
        INSTEP_TRY_ASSIGN(const std::int64_t budget, service.integer("wal_budget_mib"));
        config_.wal_budget_mib = static_cast<std::uint64_t>(budget);
        if (capture.text == "triggers") {
            return {};
        }
        config_.capture = CaptureBy::kWal;
        if (!config_.database.starts_with("postgres")) {
            return service.error("capture",
                                 "capture = \"wal\" needs a PostgreSQL database; use \"triggers\"");
        }
        if (config_.partitions != 1) {
            return service.error("partitions",
                                 fmt::format("capture = \"wal\" needs partitions = 1, for the "
                                             "write-ahead log is read in one piece; this is {}",
                                             config_.partitions));
        }
        return {};
    }

    Result<void> read_monitoring(const TableReader& service) {
        if (service.has("listen")) {
            INSTEP_TRY_ASSIGN(const PlacedText address, service.text("listen"));
            if (const auto sound = check_listen_address(address.text); !sound) {
                return service.error("listen", sound.error().message);
            }
            config_.listen = address.text;
        }
        if (service.has("otlp")) {
            INSTEP_TRY_ASSIGN(const PlacedText url, service.text("otlp"));
            if (const auto sound = HttpClient::create(url.text); !sound) {
                return service.error("otlp", sound.error().message);
            }
            config_.otlp = url.text;
        }
        return {};
    }

    Result<void> read_transactions(const TableReader& service) {
        INSTEP_TRY_ASSIGN(transactions_, service.list("transactions"));
        OnceOnly once;
        for (const PlacedText& entity : transactions_) {
            INSTEP_TRY(once.add(file_, "entity", entity));
            config_.transactions.push_back(entity.text);
        }
        if (!transactions_.empty() && config_.partitions != 1) {
            return service.error("partitions",
                                 fmt::format("transactions needs partitions = 1, for a transaction "
                                             "may change keys of any partition; this is {}",
                                             config_.partitions));
        }
        return {};
    }

    /// Once all entities are known.
    Result<void> check_transactions() const {
        std::vector<std::string> entities;
        for (const PublishEntry& entry : config_.publish) {
            entities.push_back(entry.entity);
        }
        for (const PlacedText& entity : transactions_) {
            if (std::ranges::find(entities, entity.text) == entities.end()) {
                const std::string nearest = nearest_name(entity.text, entities);
                return file_.error(
                    entity.position,
                    fmt::format(
                        "transactions names \"{}\", which no [[publish]] has as its "
                        "entity{}",
                        entity.text,
                        nearest.empty() ? "" : fmt::format("; did you mean \"{}\"?", nearest)));
            }
        }
        return {};
    }

    Result<void> check_memory(const TableReader& service) const {
        const auto needed = config_.log_retention + config_.broker_retention;
        if (config_.memory_retention >= needed) {
            return {};
        }
        std::string_view blamed = "memory_retention";
        if (!service.has(blamed)) {
            blamed = config_.log_retention > config_.broker_retention ? "log_retention"
                                                                      : "broker_retention";
        }
        return service.error(
            blamed,
            fmt::format("memory_retention must be at least log_retention and broker_retention "
                        "together, {}; it is {}",
                        format_duration(needed), format_duration(config_.memory_retention)));
    }

    /// The URL under `key`, or in the file under `<key>_file`, with an absolute path.
    Result<std::string> read_url(const TableReader& table, std::string_view key,
                                 std::string_view example) const {
        const std::string from_file = fmt::format("{}_file", key);
        PlacedText url;
        if (table.has(from_file)) {
            INSTEP_TRY_ASSIGN(url, table.text(from_file));
            INSTEP_TRY_ASSIGN(url.text, read_value_file(url));
        } else {
            INSTEP_TRY_ASSIGN(url, table.text(key));
        }
        const std::size_t colon = url.text.find(':');
        if (colon == std::string::npos || !is_name(url.text.substr(0, colon), "+") ||
            colon + 1 == url.text.size()) {
            return file_.error(url.position,
                               fmt::format("{} must be a URL such as \"{}\"; this is \"{}\"", key,
                                           example, redact_url(url.text)));
        }
        return with_absolute_path(std::move(url.text), colon);
    }

    Result<std::string> read_value_file(const PlacedText& path) const {
        auto text = read_text_file((folder_ / path.text).string(), kValueFileBytesMax);
        if (!text) {
            return file_.error(path.position, text.error().message);
        }
        text->erase(text->find_last_not_of("\r\n") + 1);
        return *std::move(text);
    }

    [[nodiscard]] std::string with_absolute_path(std::string url, std::size_t colon) const {
        static constexpr std::array<std::string_view, 2> kFileSchemes = {"sqlite", "embedded"};
        const std::string_view path = std::string_view(url).substr(colon + 1);
        if (std::ranges::find(kFileSchemes, std::string_view(url).substr(0, colon)) ==
                kFileSchemes.end() ||
            path.starts_with('/') || path == ":memory:") {
            return url;
        }
        const std::string absolute = (folder_ / path).lexically_normal().string();
        return url.substr(0, colon + 1) + absolute;
    }

    Result<void> read_publish(const TableReader& table) {
        PublishEntry entry;
        INSTEP_TRY_ASSIGN(entry.table, read_table(table, published_tables_));
        INSTEP_TRY_ASSIGN(const PlacedText entity, table.text("entity"));
        if (!is_name(entity.text, "_") || entity.text == kRequests) {
            return table.error("entity", fmt::format("entity must be 1 to {} lower-case letters, "
                                                     "digits and _, and not \"{}\"; this is \"{}\"",
                                                     kNameCharactersMax, kRequests, entity.text));
        }
        if (entity.text == kTransactions) {
            return table.error("entity", fmt::format("the topic {} is that of whole transactions; "
                                                     "call the entity otherwise",
                                                     transactions_topic(config_.name)));
        }
        INSTEP_TRY(entities_.add(file_, "entity", entity));
        entry.entity = entity.text;
        INSTEP_TRY_ASSIGN(entry.columns, read_columns(table, "columns", nullptr));
        INSTEP_TRY_ASSIGN(entry.key, read_columns(table, "key", &entry.columns));
        INSTEP_TRY_ASSIGN(entry.personal, read_columns(table, "personal", &entry.columns));
        for (const std::string_view needed : {"columns", "key"}) {
            if ((needed == "key" ? entry.key : entry.columns).empty()) {
                return table.error(needed, fmt::format("{} must name a column", needed));
            }
        }
        config_.publish.push_back(std::move(entry));
        return {};
    }

    [[nodiscard]] Result<void> check_column(const PlacedText& name) const {
        if (name.text.empty() || name.text.starts_with(kOwnPrefix)) {
            return file_.error(name.position,
                               fmt::format("a column has a name, none that begins with {}; this is "
                                           "\"{}\"",
                                           kOwnPrefix, name.text));
        }
        return {};
    }

    Result<std::vector<std::string>> read_columns(const TableReader& table, std::string_view key,
                                                  const std::vector<std::string>* among) const {
        INSTEP_TRY_ASSIGN(const std::vector<PlacedText> names, table.list(key));
        OnceOnly once;
        std::vector<std::string> columns;
        for (const PlacedText& name : names) {
            INSTEP_TRY(check_column(name));
            INSTEP_TRY(once.add(file_, "column", name));
            if (among != nullptr && std::ranges::find(*among, name.text) == among->end()) {
                const std::string nearest = nearest_name(name.text, *among);
                return file_.error(
                    name.position,
                    fmt::format(
                        "{} names \"{}\", which is not among columns{}", key, name.text,
                        nearest.empty() ? "" : fmt::format("; did you mean \"{}\"?", nearest)));
            }
            columns.push_back(name.text);
        }
        return columns;
    }

    Result<std::string> read_table(const TableReader& table, OnceOnly& once) const {
        INSTEP_TRY_ASSIGN(PlacedText name, table.text("table"));
        if (name.text.empty() || name.text.starts_with(kOwnPrefix)) {
            return table.error("table", fmt::format("table must be a table of the service, none "
                                                    "that begins with {}; this is \"{}\"",
                                                    kOwnPrefix, name.text));
        }
        INSTEP_TRY(once.add(file_, "table", name));
        return std::move(name.text);
    }

    Result<void> read_replica(const TableReader& table) {
        ReplicaDefinition replica;
        replica.service = config_.name;
        INSTEP_TRY_ASSIGN(replica.topic, read_topic(table, TopicOf::kOthers));
        INSTEP_TRY_ASSIGN(replica.table, read_table(table, replica_tables_));
        INSTEP_TRY_ASSIGN(const auto mapping, table.mapping("columns"));
        if (table.has("columns") && mapping.empty()) {
            return table.error("columns", "columns must name a column; leave it out to keep all");
        }
        OnceOnly sources;
        OnceOnly locals;
        for (const auto& [source, local] : mapping) {
            INSTEP_TRY(check_column(local));
            INSTEP_TRY(sources.add(file_, "column", source));
            INSTEP_TRY(locals.add(file_, "column", local));
            replica.columns.emplace_back(source.text, local.text);
        }
        INSTEP_TRY_ASSIGN(replica.apply, read_apply(table));
        if (replica.apply == ApplyUnit::kTransaction && config_.broker.starts_with("direct:")) {
            return table.error("apply",
                               "apply = \"transaction\" needs a broker, which gets whole "
                               "transactions from the owner's relay; this service has "
                               "broker = \"direct:…\"");
        }
        config_.replicas.push_back(std::move(replica));
        return {};
    }

    static Result<ApplyUnit> read_apply(const TableReader& table) {
        INSTEP_TRY_ASSIGN(const PlacedText apply, table.text("apply"));
        if (apply.text != "key" && apply.text != "transaction") {
            return table.error("apply", fmt::format("apply must be \"key\" or \"transaction\"; "
                                                    "this is \"{}\"",
                                                    apply.text));
        }
        return apply.text == "key" ? ApplyUnit::kKey : ApplyUnit::kTransaction;
    }

    Result<void> read_subscription(const TableReader& table) {
        SubscriptionEntry entry;
        INSTEP_TRY_ASSIGN(const PlacedText name, table.text("name"));
        if (!is_name(name.text, "-_")) {
            return table.error("name", fmt::format("name must be 1 to {} lower-case letters, "
                                                   "digits, - and _; this is \"{}\"",
                                                   kNameCharactersMax, name.text));
        }
        INSTEP_TRY(subscriptions_.add(file_, "subscription", name));
        entry.name = name.text;
        if (std::ranges::find(config_.replicas, name.text, &ReplicaDefinition::table) !=
            config_.replicas.end()) {
            return table.error("name", fmt::format("\"{}\" is what the replica of that name is "
                                                   "called at the broker; choose another",
                                                   name.text));
        }
        INSTEP_TRY_ASSIGN(entry.topic, read_topic(table, TopicOf::kAnybody));
        INSTEP_TRY_ASSIGN(const PlacedText start, table.text("start"));
        if (start.text != "earliest" && start.text != "latest") {
            return table.error("start", fmt::format("start must be \"earliest\" or \"latest\"; "
                                                    "this is \"{}\"",
                                                    start.text));
        }
        entry.start_at = start.text == "latest" ? StartAt::kLatest : StartAt::kEarliest;
        INSTEP_TRY_ASSIGN(const std::int64_t attempts, table.integer("attempts"));
        entry.attempts_max = static_cast<std::uint32_t>(attempts);
        INSTEP_TRY_ASSIGN(entry.retry_first, table.duration("retry_first"));
        INSTEP_TRY_ASSIGN(entry.retry_max, table.duration("retry_max"));
        INSTEP_TRY(check_delays(table, entry.retry_first, entry.retry_max));
        INSTEP_TRY_ASSIGN(entry.on_failure, read_on_failure(table, entry.attempts_max));
        INSTEP_TRY(read_policies(table, entry));
        INSTEP_TRY(read_limits(table, entry));
        config_.subscriptions.push_back(std::move(entry));
        return {};
    }

    static Result<OnFailure> read_on_failure(const TableReader& table, std::uint32_t attempts_max) {
        INSTEP_TRY_ASSIGN(const PlacedText policy, table.text("on_failure"));
        static constexpr std::array kPolicies = {OnFailure::kBlockKey, OnFailure::kSkip,
                                                 OnFailure::kStopFlow};
        const auto* const found = std::ranges::find(kPolicies, policy.text,
                                                    [](OnFailure each) { return to_string(each); });
        if (found == kPolicies.end()) {
            return table.error("on_failure", fmt::format("on_failure must be \"block_key\", "
                                                         "\"skip\" or \"stop_flow\"; this is "
                                                         "\"{}\"",
                                                         policy.text));
        }
        if (*found == OnFailure::kSkip && attempts_max == 0) {
            return table.error(
                "on_failure",
                "on_failure = \"skip\" needs attempts of at least 1: with 0 an event "
                "is tried without end, and never skipped");
        }
        return *found;
    }

    Result<void> read_policies(const TableReader& subscription, SubscriptionEntry& entry) const {
        OnceOnly once;
        for (const TomlValue& each : subscription.tables("on")) {
            INSTEP_TRY_ASSIGN(const TableReader table,
                              TableReader::open("subscription.on", each, file_, environment_));
            INSTEP_TRY_ASSIGN(const FailurePolicy policy, read_policy(table, entry));
            INSTEP_TRY_ASSIGN(const std::vector<PlacedText> errors, table.list("error"));
            for (const PlacedText& error : errors) {
                INSTEP_TRY(once.add(file_, "error", error));
                INSTEP_TRY_ASSIGN(const ErrorCode failure_class, read_failure_class(error));
                entry.policies.emplace(failure_class, policy);
            }
        }
        return {};
    }

    /// What the table does not say is as in the subscription.
    static Result<FailurePolicy> read_policy(const TableReader& table,
                                             const SubscriptionEntry& entry) {
        std::int64_t attempts = entry.attempts_max;
        std::chrono::seconds first = entry.retry_first;
        std::chrono::seconds longest = entry.retry_max;
        if (table.has("attempts")) {
            INSTEP_TRY_ASSIGN(attempts, table.integer("attempts"));
        }
        if (table.has("retry_first")) {
            INSTEP_TRY_ASSIGN(first, table.duration("retry_first"));
        }
        if (table.has("retry_max")) {
            INSTEP_TRY_ASSIGN(longest, table.duration("retry_max"));
        }
        INSTEP_TRY(check_delays(table, first, longest));
        FailurePolicy policy;
        policy.attempts_max = static_cast<std::uint32_t>(attempts);
        policy.backoff.initial = first;
        policy.backoff.max = longest;
        policy.on_failure = entry.on_failure;
        if (table.has("on_failure")) {
            INSTEP_TRY_ASSIGN(policy.on_failure, read_on_failure(table, policy.attempts_max));
        } else if (policy.on_failure == OnFailure::kSkip && policy.attempts_max == 0) {
            return table.error("attempts",
                               "attempts = 0 never ends, and the subscription's on_failure = "
                               "\"skip\" needs an end; give on_failure here too");
        }
        return policy;
    }

    [[nodiscard]] Result<ErrorCode> read_failure_class(const PlacedText& error) const {
        std::vector<std::string> names;
        for (const ErrorCode next : failure_classes()) {
            if (to_string(next) == error.text) {
                return next;
            }
            names.emplace_back(to_string(next));
        }
        const std::string nearest = nearest_name(error.text, names);
        return file_.error(
            error.position,
            fmt::format("there is no class of errors \"{}\"; {}", error.text,
                        nearest.empty() ? fmt::format("there are {}", fmt::join(names, ", "))
                                        : fmt::format("did you mean \"{}\"?", nearest)));
    }

    static Result<void> check_delays(const TableReader& table, std::chrono::seconds first,
                                     std::chrono::seconds longest) {
        if (longest >= first) {
            return {};
        }
        return table.error(table.has("retry_max") ? "retry_max" : "retry_first",
                           fmt::format("retry_max must be at least retry_first, {}; it is {}",
                                       format_duration(first), format_duration(longest)));
    }

    static Result<void> read_limits(const TableReader& table, SubscriptionEntry& entry) {
        INSTEP_TRY_ASSIGN(const std::int64_t crashes, table.integer("crashes"));
        entry.crashes_max = static_cast<std::uint32_t>(crashes);
        INSTEP_TRY_ASSIGN(const std::int64_t failures, table.integer("circuit_failures"));
        entry.circuit_failures = static_cast<std::uint32_t>(failures);
        INSTEP_TRY_ASSIGN(entry.circuit_open_for, table.duration("circuit_open_for"));
        INSTEP_TRY_ASSIGN(const std::int64_t rate, table.integer("rate_limit"));
        entry.rate_limit = static_cast<std::uint32_t>(rate);
        INSTEP_TRY_ASSIGN(const std::int64_t keys, table.integer("parked_keys_max"));
        entry.parked_keys_max = static_cast<std::uint64_t>(keys);
        INSTEP_TRY_ASSIGN(const std::int64_t mib, table.integer("parked_mib_max"));
        entry.parked_mib_max = static_cast<std::uint64_t>(mib);
        INSTEP_TRY_ASSIGN(entry.slow_after, table.duration("slow_after"));
        return {};
    }

    enum class TopicOf : std::uint8_t { kOthers, kAnybody };

    Result<std::string> read_topic(const TableReader& table, TopicOf whose) const {
        INSTEP_TRY_ASSIGN(PlacedText topic, table.text("topic"));
        const std::string_view text = topic.text;
        const std::size_t dot = text.find('.');
        if (dot == std::string_view::npos || !is_name(text.substr(0, dot), "-_") ||
            !is_name(text.substr(dot + 1), "-_")) {
            return table.error("topic", fmt::format("topic must be owner.entity, such as "
                                                    "\"iam.user\", each of lower-case letters, "
                                                    "digits, - and _; this is \"{}\"",
                                                    text));
        }
        if (whose == TopicOf::kOthers && text.substr(0, dot) == config_.name) {
            return table.error("topic", fmt::format("{} is a topic of this service; a replica "
                                                    "follows another service's",
                                                    text));
        }
        return std::move(topic.text);
    }

    const SourceFile& file_;
    const Environment& environment_;
    std::filesystem::path folder_;
    std::vector<PlacedText> transactions_;
    OnceOnly entities_;
    OnceOnly published_tables_;
    OnceOnly replica_tables_;
    OnceOnly subscriptions_;
    ServiceConfig config_;
};

}  // namespace

Result<ServiceConfig> parse_service_file(std::string_view text, const std::string& path,
                                         const Environment& environment) {
    const SourceFile file(path);
    INSTEP_TRY_ASSIGN(const TomlTable root, parse_toml(text, file));
    return ServiceFileReader(file, environment).read(root);
}

Result<ServiceConfig> load_service_file(const std::string& path, const Environment& environment) {
    INSTEP_TRY_ASSIGN(const std::string text, read_text_file(path, kServiceFileBytesMax));
    return parse_service_file(text, path, environment);
}

Result<std::optional<PublishContract>> load_publish_contract(const ServiceConfig& config) {
    if (config.contract.empty()) {
        return std::nullopt;
    }
    INSTEP_TRY_ASSIGN(const std::string text,
                      read_text_file(config.contract, kContractFileBytesMax));
    auto contract = PublishContract::compile(text);
    if (!contract) {
        return fail_in(config.contract, std::move(contract).error());
    }
    return *std::move(contract);
}

}  // namespace instep
