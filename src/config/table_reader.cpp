#include "table_reader.hpp"

#include "instep/capture/contract.hpp"
#include "interpolate.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace instep {

namespace {

struct DurationUnit {
    char letter;
    std::int64_t seconds;
};

constexpr DurationUnit kUnits[] = {{'d', 86'400}, {'h', 3'600}, {'m', 60}, {'s', 1}};

/// More than this is out of every setting's bounds.
constexpr std::int64_t kCountMax = 1'000'000'000;

std::optional<std::chrono::seconds> parse_duration(std::string_view text) {
    std::int64_t count = 0;
    const char* end = text.data() + text.size();
    const auto [rest, problem] = std::from_chars(text.data(), end, count);
    if (problem != std::errc{} || rest + 1 != end || count < 0 || count > kCountMax) {
        return std::nullopt;
    }
    const auto* unit = std::ranges::find(kUnits, *rest, &DurationUnit::letter);
    if (unit == std::end(kUnits)) {
        return std::nullopt;
    }
    return std::chrono::seconds{count * unit->seconds};
}

std::string expected(const Setting& setting) {
    if (setting.type == "integer") {
        return fmt::format("an integer from {} to {}", setting.minimum, setting.maximum);
    }
    if (setting.type == "duration") {
        return fmt::format("a duration from \"{}\" to \"{}\", in s, m, h or d",
                           format_duration(std::chrono::seconds{setting.minimum}),
                           format_duration(std::chrono::seconds{setting.maximum}));
    }
    const bool is_list = setting.type.starts_with("list");
    return fmt::format("{}{}", is_list ? "a " : "", setting.type);
}

bool is_text(const TomlValue& value) { return std::holds_alternative<std::string>(value.value); }

bool is_table(const TomlValue& value) { return std::holds_alternative<TomlTable>(value.value); }

/// The part of `value` that keeps it from being of the setting's type; nullptr if it is.
const TomlValue* misfit(const Setting& setting, const TomlValue& value) {
    if (setting.type == "integer") {
        return std::holds_alternative<std::int64_t>(value.value) ? nullptr : &value;
    }
    const auto* list = std::get_if<TomlList>(&value.value);
    if (setting.type == "list of tables") {
        const bool are_tables = list != nullptr && std::ranges::all_of(*list, is_table);
        return are_tables ? nullptr : &value;
    }
    if (list != nullptr && setting.type.contains("list")) {
        const auto found = std::ranges::find_if_not(*list, is_text);
        return found == list->end() ? nullptr : &*found;
    }
    const auto* table = std::get_if<TomlTable>(&value.value);
    if (table != nullptr && setting.type.contains("table")) {
        const auto found = std::ranges::find_if_not(*table, is_text, &TomlEntry::value);
        return found == table->end() ? nullptr : &found->value;
    }
    return is_text(value) && !setting.type.starts_with("list") ? nullptr : &value;
}

std::string header_of(std::string_view table) {
    return table == "service" ? "[service]" : fmt::format("[[{}]]", table);
}

}  // namespace

std::string format_duration(std::chrono::seconds duration) {
    const auto* unit = std::ranges::find_if(
        kUnits, [&](const DurationUnit& next) { return duration.count() % next.seconds == 0; });
    return fmt::format("{}{}", duration.count() / unit->seconds, unit->letter);
}

Result<TableReader> TableReader::open(std::string_view name, const TomlValue& table,
                                      const SourceFile& file, const Environment& environment) {
    const TableReader reader(name, table, file, environment);
    if (!std::holds_alternative<TomlTable>(table.value)) {
        return file.error(table.position,
                          fmt::format("{} must be a table, written under {}; this is {}", name,
                                      header_of(name), table.kind()));
    }
    INSTEP_TRY(reader.check());
    return reader;
}

Result<void> TableReader::check() const {
    for (const TomlEntry& entry : entries()) {
        INSTEP_TRY(check_entry(entry));
    }
    for (const Setting& wanted : settings()) {
        if (wanted.table != name_ || !wanted.required || has(wanted.key)) {
            continue;
        }
        const std::string from_file = fmt::format("{}_file", wanted.key);
        if (setting(from_file) == nullptr) {
            return file_->error(table_->position,
                                fmt::format("{} needs {}", header_of(name_), wanted.key));
        }
        if (!has(from_file)) {
            return file_->error(table_->position, fmt::format("{} needs {} or {}", header_of(name_),
                                                              wanted.key, from_file));
        }
    }
    return {};
}

Result<void> TableReader::check_entry(const TomlEntry& entry) const {
    const Setting* known = setting(entry.key);
    if (known == nullptr) {
        std::vector<std::string> keys;
        for (const Setting& next : settings()) {
            if (next.table == name_) {
                keys.emplace_back(next.key);
            }
        }
        const std::string nearest = nearest_name(entry.key, keys);
        return file_->error(
            entry.position,
            fmt::format("{} has no setting \"{}\"; {}", header_of(name_), entry.key,
                        nearest.empty() ? fmt::format("it knows {}", fmt::join(keys, ", "))
                                        : fmt::format("did you mean \"{}\"?", nearest)));
    }
    if (const TomlValue* wrong = misfit(*known, entry.value);
        wrong != nullptr && known->type == "list of tables") {
        return file_->error(wrong->position, fmt::format("write it as [[{}.{}]]; this is {}", name_,
                                                         entry.key, wrong->kind()));
    } else if (wrong != nullptr) {
        return file_->error(wrong->position, fmt::format("{} must be {}; this is {}", entry.key,
                                                         expected(*known), wrong->kind()));
    }
    if (entry.key.ends_with("_file")) {
        const std::string direct = entry.key.substr(0, entry.key.rfind("_file"));
        if (has(direct)) {
            return file_->error(entry.position,
                                fmt::format("both {} and {} are set; keep one", direct, entry.key));
        }
    }
    return {};
}

const Setting* TableReader::setting(std::string_view key) const {
    const auto all = settings();
    const auto found = std::ranges::find_if(
        all, [&](const Setting& next) { return next.table == name_ && next.key == key; });
    return found == all.end() ? nullptr : &*found;
}

const TomlEntry* TableReader::find(std::string_view key) const {
    const auto found = std::ranges::find(entries(), key, &TomlEntry::key);
    return found == entries().end() ? nullptr : &*found;
}

FilePosition TableReader::position(std::string_view key) const {
    const TomlEntry* entry = find(key);
    return entry == nullptr ? table_->position : entry->value.position;
}

Result<TomlValue> TableReader::value(std::string_view key) const {
    if (const TomlEntry* entry = find(key); entry != nullptr) {
        return entry->value;
    }
    INSTEP_TRY_ASSIGN(TomlTable made,
                      parse_toml(fmt::format("default = {}", setting(key)->default_value),
                                 SourceFile("default")));
    TomlValue value = std::move(made.front().value);
    value.position = table_->position;
    if (auto* list = std::get_if<TomlList>(&value.value)) {
        for (TomlValue& element : *list) {
            element.position = table_->position;
        }
    }
    return value;
}

Result<PlacedText> TableReader::expand(const TomlValue& text) const {
    auto expanded = interpolate(std::get<std::string>(text.value), *environment_);
    if (!expanded) {
        return file_->error(text.position, expanded.error().message);
    }
    return PlacedText{*std::move(expanded), text.position};
}

Result<PlacedText> TableReader::text(std::string_view key) const {
    INSTEP_TRY_ASSIGN(const TomlValue found, value(key));
    return expand(found);
}

Result<std::int64_t> TableReader::integer(std::string_view key) const {
    INSTEP_TRY_ASSIGN(const TomlValue found, value(key));
    const auto number = std::get<std::int64_t>(found.value);
    const Setting& bounds = *setting(key);
    if (number < bounds.minimum || number > bounds.maximum) {
        return error(key, fmt::format("{} must be {}; this is {}", key, expected(bounds), number));
    }
    return number;
}

Result<std::chrono::seconds> TableReader::duration(std::string_view key) const {
    INSTEP_TRY_ASSIGN(const PlacedText written, text(key));
    const auto parsed = parse_duration(written.text);
    const Setting& bounds = *setting(key);
    if (!parsed || parsed->count() < bounds.minimum || parsed->count() > bounds.maximum) {
        return error(
            key, fmt::format("{} must be {}; this is \"{}\"", key, expected(bounds), written.text));
    }
    return *parsed;
}

Result<std::vector<PlacedText>> TableReader::list(std::string_view key) const {
    INSTEP_TRY_ASSIGN(const TomlValue found, value(key));
    std::vector<PlacedText> texts;
    if (is_text(found)) {
        INSTEP_TRY_ASSIGN(PlacedText only, expand(found));
        texts.push_back(std::move(only));
        return texts;
    }
    for (const TomlValue& next : std::get<TomlList>(found.value)) {
        INSTEP_TRY_ASSIGN(PlacedText text, expand(next));
        texts.push_back(std::move(text));
    }
    return texts;
}

std::span<const TomlValue> TableReader::tables(std::string_view key) const {
    const TomlEntry* const entry = find(key);
    return entry == nullptr ? std::span<const TomlValue>{} : std::get<TomlList>(entry->value.value);
}

Result<std::vector<std::pair<PlacedText, PlacedText>>> TableReader::mapping(
    std::string_view key) const {
    std::vector<std::pair<PlacedText, PlacedText>> pairs;
    const TomlEntry* entry = find(key);
    if (entry == nullptr) {
        return pairs;
    }
    if (const auto* table = std::get_if<TomlTable>(&entry->value.value)) {
        for (const TomlEntry& next : *table) {
            INSTEP_TRY_ASSIGN(PlacedText local, expand(next.value));
            pairs.emplace_back(PlacedText{next.key, next.position}, std::move(local));
        }
        return pairs;
    }
    INSTEP_TRY_ASSIGN(const std::vector<PlacedText> names, list(key));
    for (const PlacedText& name : names) {
        pairs.emplace_back(name, name);
    }
    return pairs;
}

}  // namespace instep
