// What the command prints: data on stdout, sentences on stderr. With --json, stdout holds one
// JSON object a line and nothing else, for errors too.
#pragma once

#include "exit_code.hpp"
#include "instep/base/error.hpp"

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep::cli {

/// Builds one JSON object as text. 64-bit numbers become strings, since JavaScript cannot hold
/// them; bytes that are not UTF-8 become U+FFFD.
class JsonObject {
public:
    JsonObject() = default;

    /// Begins with "schema", such as "instep.status/1". A schema only grows.
    explicit JsonObject(std::string_view schema);

    JsonObject& text(std::string_view name, std::string_view value);
    JsonObject& number(std::string_view name, std::uint64_t value);

    /// A plain number, for what stays far below 2^53.
    JsonObject& count(std::string_view name, std::uint64_t value);

    /// For numbers that a double always holds, such as seconds or an exit code.
    JsonObject& real(std::string_view name, double value);
    JsonObject& flag(std::string_view name, bool value);
    JsonObject& null(std::string_view name);
    JsonObject& object(std::string_view name, const JsonObject& value);
    JsonObject& objects(std::string_view name, std::span<const JsonObject> values);
    JsonObject& texts(std::string_view name, std::span<const std::string> values);

    [[nodiscard]] std::string str() const { return '{' + members_ + '}'; }

private:
    void name(std::string_view name);

    std::string members_;
};

/// Columns of text, aligned when printed.
class Table {
public:
    enum class Align : std::uint8_t { kLeft, kRight };
    struct Column {
        std::string title;
        Align align = Align::kLeft;
    };

    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

    /// As many cells as there are columns.
    void add_row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

    [[nodiscard]] bool empty() const { return rows_.empty(); }

    /// Titles first; every line with a line feed.
    [[nodiscard]] std::string str() const;

private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

/// How much weight a piece of text has; colour is never the only sign of it.
enum class Style : std::uint8_t { kPlain, kStrong, kGood, kWarning, kBad, kFaint };

/// For one thread.
class Output {
public:
    enum class Format : std::uint8_t { kHuman, kJson };
    enum class Color : std::uint8_t { kAuto, kAlways, kNever };

    /// Reads NO_COLOR, TERM and whether stdout and stderr are terminals.
    Output();

    void set_format(Format format) { format_ = format; }
    void set_color(Color color) { color_ = color; }

    [[nodiscard]] bool json() const { return format_ == Format::kJson; }

    /// Data: a line, a table, text with its line feeds, or an object a line. Flushed, so that a
    /// reader on a pipe has it.
    void line(std::string_view text);
    void table(const Table& table);
    void text(std::string_view text);
    void object(const JsonObject& object);

    /// A sentence on stderr; nothing with --json.
    void message(std::string_view text);

    /// A sentence on stderr that begins with "instep: ", or "instep.error/1" with --json.
    void error(const Error& error, ExitCode exit);

    /// Replaces the last progress line. Only where stderr is a terminal, and not with --json.
    void progress(std::string_view text);

    /// The text in its style, if stdout shows styles.
    [[nodiscard]] std::string styled(Style style, std::string_view text) const;

private:
    void end_progress();

    Format format_ = Format::kHuman;
    Color color_ = Color::kAuto;
    bool stdout_shows_styles_ = false;
    bool stderr_is_terminal_ = false;
    bool progress_shown_ = false;
};

/// `text` on one line, with control characters escaped, so that data cannot steer a terminal.
std::string printable(std::string_view text);

/// "1,204".
std::string grouped(std::uint64_t number);

/// "1,204 events", "1 event".
std::string counted(std::uint64_t number, std::string_view noun);

/// "0.3 s", "12 s", "4 min", "3 h", "2 d".
std::string rounded(std::chrono::microseconds time);

}  // namespace instep::cli
