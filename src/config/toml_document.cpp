#include "toml_document.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>

namespace instep {

namespace {

FilePosition position_of(const toml::source_region& region) {
    return {region.begin.line, region.begin.column};
}

TomlValue convert(const toml::node& node);

TomlTable convert_table(const toml::table& table) {
    TomlTable entries;
    for (const auto& [key, node] : table) {
        entries.push_back({std::string(key.str()), position_of(key.source()), convert(node)});
    }
    std::ranges::sort(entries, {}, &TomlEntry::position);
    return entries;
}

TomlList convert_list(const toml::array& array) {
    TomlList list;
    for (const toml::node& node : array) {
        list.push_back(convert(node));
    }
    return list;
}

TomlValue convert(const toml::node& node) {
    const FilePosition position = position_of(node.source());
    switch (node.type()) {
        case toml::node_type::string:
            return {position, node.as_string()->get()};
        case toml::node_type::integer:
            return {position, node.as_integer()->get()};
        case toml::node_type::array:
            return {position, convert_list(*node.as_array())};
        case toml::node_type::table:
            return {position, convert_table(*node.as_table())};
        case toml::node_type::floating_point:
            return {position, OtherToml{"a number with a point"}};
        case toml::node_type::boolean:
            return {position, OtherToml{"true or false"}};
        case toml::node_type::none:
        case toml::node_type::date:
        case toml::node_type::time:
        case toml::node_type::date_time:
            break;
    }
    return {position, OtherToml{"a date or time"}};
}

}  // namespace

std::string_view TomlValue::kind() const {
    static constexpr std::array<std::string_view, 4> kKinds = {"text", "an integer", "a list",
                                                               "a table"};
    const auto* other = std::get_if<OtherToml>(&value);
    return other != nullptr ? other->kind : kKinds.at(value.index());
}

std::unexpected<Error> SourceFile::error(FilePosition position, std::string_view message) const {
    return fail(ErrorCode::kConfigInvalid,
                fmt::format("{}:{}:{}: {}", path_, position.line, position.column, message));
}

Result<TomlTable> parse_toml(std::string_view text, const SourceFile& file) {
    try {
        return convert_table(toml::parse(text));
    } catch (const toml::parse_error& error) {
        return file.error(position_of(error.source()),
                          fmt::format("this is not TOML: {}", error.description()));
    }
}

}  // namespace instep
