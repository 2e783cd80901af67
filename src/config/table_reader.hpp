// One table of a service file, held against the settings it may have.
#pragma once

#include "instep/base/error.hpp"
#include "instep/config/service_file.hpp"
#include "toml_document.hpp"

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace instep {

/// A text of the file and where it stands.
struct PlacedText {
    std::string text;
    FilePosition position;
};

/// "24h", "90s": the largest unit that divides it.
std::string format_duration(std::chrono::seconds duration);

/// Reads settings of which each is known to be there, or to have a default, and to be of its
/// type; bounds and ${…} are seen to in the calls. Borrows everything it is made from.
class TableReader {
public:
    /// Errors: kConfigInvalid for a key that is no setting of the table (`name`), for a value
    /// of another type, and for a setting that is missing.
    static Result<TableReader> open(std::string_view name, const TomlValue& table,
                                    const SourceFile& file, const Environment& environment);

    /// The key is in the file.
    [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }

    /// Where the value stands; where the table begins if the key is not in the file.
    [[nodiscard]] FilePosition position(std::string_view key) const;

    Result<PlacedText> text(std::string_view key) const;
    Result<std::int64_t> integer(std::string_view key) const;
    Result<std::chrono::seconds> duration(std::string_view key) const;

    /// A single text is a list of one.
    Result<std::vector<PlacedText>> list(std::string_view key) const;

    /// Of a "list of tables", each of which is a table of its own; empty if absent.
    [[nodiscard]] std::span<const TomlValue> tables(std::string_view key) const;

    /// Each name with what it becomes; names of a list stay as they are. Empty if absent.
    Result<std::vector<std::pair<PlacedText, PlacedText>>> mapping(std::string_view key) const;

    /// An error at the key's value.
    [[nodiscard]] std::unexpected<Error> error(std::string_view key,
                                               std::string_view message) const {
        return file_->error(position(key), message);
    }

private:
    TableReader(std::string_view name, const TomlValue& table, const SourceFile& file,
                const Environment& environment)
        : name_(name), table_(&table), file_(&file), environment_(&environment) {}

    Result<void> check() const;
    Result<void> check_entry(const TomlEntry& entry) const;
    [[nodiscard]] const Setting* setting(std::string_view key) const;
    [[nodiscard]] const TomlTable& entries() const { return std::get<TomlTable>(table_->value); }
    [[nodiscard]] const TomlEntry* find(std::string_view key) const;

    /// What the file says, or the default.
    [[nodiscard]] Result<TomlValue> value(std::string_view key) const;
    Result<PlacedText> expand(const TomlValue& text) const;

    std::string_view name_;
    const TomlValue* table_;
    const SourceFile* file_;
    const Environment* environment_;
};

}  // namespace instep
