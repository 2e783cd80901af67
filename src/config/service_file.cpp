#include "instep/config/service_file.hpp"

#include "instep/telemetry/redact.hpp"
#include "table_reader.hpp"
#include "text_file.hpp"
#include "toml_document.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

namespace instep {

namespace {

constexpr std::size_t kServiceFileBytesMax = 1024U * 1024;
constexpr std::size_t kValueFileBytesMax = 64U * 1024;
constexpr std::size_t kNameCharactersMax = 64;

/// What every table that is ours begins with.
constexpr std::string_view kOwnPrefix = "instep_";

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
        INSTEP_TRY(read_each(root, "replica", &ServiceFileReader::read_replica));
        return std::move(config_);
    }

private:
    using ReadEntry = Result<void> (ServiceFileReader::*)(const TableReader&);

    static const TomlValue* find(const TomlTable& root, std::string_view key) {
        const auto found = std::ranges::find(root, key, &TomlEntry::key);
        return found == root.end() ? nullptr : &found->value;
    }

    Result<void> check_tables(const TomlTable& root) const {
        const std::vector<std::string> known = {"service", "publish", "replica"};
        for (const TomlEntry& entry : root) {
            if (std::ranges::find(known, entry.key) == known.end()) {
                const std::string nearest = nearest_name(entry.key, known);
                return file_.error(
                    entry.position,
                    fmt::format("there is no table \"{}\"; {}", entry.key,
                                nearest.empty() ? "the tables are [service], [[publish]] and "
                                                  "[[replica]]"
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
        INSTEP_TRY_ASSIGN(config_.broker, read_url(table, "broker", "embedded:broker.db"));
        INSTEP_TRY_ASSIGN(const std::int64_t partitions, table.integer("partitions"));
        config_.partitions = static_cast<std::uint32_t>(partitions);
        INSTEP_TRY_ASSIGN(config_.log_retention, table.duration("log_retention"));
        INSTEP_TRY_ASSIGN(config_.broker_retention, table.duration("broker_retention"));
        INSTEP_TRY_ASSIGN(config_.memory_retention, table.duration("memory_retention"));
        return check_memory(table);
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

    Result<std::vector<std::string>> read_columns(const TableReader& table, std::string_view key,
                                                  const std::vector<std::string>* among) const {
        INSTEP_TRY_ASSIGN(const std::vector<PlacedText> names, table.list(key));
        OnceOnly once;
        std::vector<std::string> columns;
        for (const PlacedText& name : names) {
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
        INSTEP_TRY_ASSIGN(replica.topic, read_topic(table));
        INSTEP_TRY_ASSIGN(replica.table, read_table(table, replica_tables_));
        INSTEP_TRY_ASSIGN(const auto mapping, table.mapping("columns"));
        if (table.has("columns") && mapping.empty()) {
            return table.error("columns", "columns must name a column; leave it out to keep all");
        }
        OnceOnly sources;
        OnceOnly locals;
        for (const auto& [source, local] : mapping) {
            INSTEP_TRY(sources.add(file_, "column", source));
            INSTEP_TRY(locals.add(file_, "column", local));
            replica.columns.emplace_back(source.text, local.text);
        }
        config_.replicas.push_back(std::move(replica));
        return {};
    }

    Result<std::string> read_topic(const TableReader& table) const {
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
        if (text.substr(0, dot) == config_.name) {
            return table.error("topic", fmt::format("{} is a topic of this service; a replica "
                                                    "follows another service's",
                                                    text));
        }
        return std::move(topic.text);
    }

    const SourceFile& file_;
    const Environment& environment_;
    std::filesystem::path folder_;
    OnceOnly entities_;
    OnceOnly published_tables_;
    OnceOnly replica_tables_;
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

}  // namespace instep
