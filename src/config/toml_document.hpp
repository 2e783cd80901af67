// A TOML text as plain values that know where they stand.
#pragma once

#include "instep/base/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace instep {

/// Counted from 1, columns in characters.
struct FilePosition {
    std::uint32_t line = 1;
    std::uint32_t column = 1;

    friend auto operator<=>(const FilePosition&, const FilePosition&) = default;
};

struct TomlValue;
struct TomlEntry;

using TomlList = std::vector<TomlValue>;

/// In the order of the file.
using TomlTable = std::vector<TomlEntry>;

/// A value of a kind that no setting has, by its name for messages.
struct OtherToml {
    std::string_view kind;
};

struct TomlValue {
    FilePosition position;
    std::variant<std::string, std::int64_t, TomlList, TomlTable, OtherToml> value;

    /// "text", "an integer", "a list", "a table" or what OtherToml says.
    [[nodiscard]] std::string_view kind() const;
};

struct TomlEntry {
    std::string key;
    FilePosition position;
    TomlValue value;
};

/// Makes errors that name a place in a file.
class SourceFile {
public:
    explicit SourceFile(std::string path) : path_(std::move(path)) {}

    /// kConfigInvalid: "iam.toml:3:12: …".
    [[nodiscard]] std::unexpected<Error> error(FilePosition position,
                                               std::string_view message) const;

    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

/// Errors: kConfigInvalid where the text stops being TOML.
Result<TomlTable> parse_toml(std::string_view text, const SourceFile& file);

}  // namespace instep
