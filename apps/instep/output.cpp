#include "output.hpp"

#include "instep/base/bytes.hpp"
#include "instep/event/json_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace instep::cli {

namespace {

/// The length of the UTF-8 character at the front, 0 if there is none.
std::size_t character_length(std::string_view text) {
    for (std::size_t length = 1; length <= 4 && length <= text.size(); ++length) {
        if (is_utf8(text.substr(0, length))) {
            return length;
        }
    }
    return 0;
}

std::size_t columns_wide(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; }));
}

std::string well_formed(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const std::size_t length = character_length(text);
        result.append(length == 0 ? "\xEF\xBF\xBD" : text.substr(0, length));
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return result;
}

std::string_view escape_of(Style style) {
    switch (style) {
        case Style::kPlain:
            return "";
        case Style::kStrong:
            return "\x1B[1m";
        case Style::kGood:
            return "\x1B[32m";
        case Style::kWarning:
            return "\x1B[33m";
        case Style::kBad:
            return "\x1B[31m";
        case Style::kFaint:
            return "\x1B[2m";
    }
    return "";
}

bool shows_styles(int descriptor) {
    const char* no_color = std::getenv("NO_COLOR");
    const char* terminal = std::getenv("TERM");
    return ::isatty(descriptor) == 1 && (no_color == nullptr || *no_color == '\0') &&
           terminal != nullptr && std::string_view(terminal) != "dumb";
}

void print(std::FILE* stream, std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stream);
    std::fflush(stream);
}

}  // namespace

JsonObject::JsonObject(std::string_view schema) { text("schema", schema); }

void JsonObject::name(std::string_view name) {
    if (!members_.empty()) {
        members_.push_back(',');
    }
    append_json_string(members_, name);
    members_.push_back(':');
}

JsonObject& JsonObject::text(std::string_view name, std::string_view value) {
    this->name(name);
    append_json_string(members_, is_utf8(value) ? value : well_formed(value));
    return *this;
}

JsonObject& JsonObject::number(std::string_view name, std::uint64_t value) {
    return text(name, fmt::to_string(value));
}

JsonObject& JsonObject::count(std::string_view name, std::uint64_t value) {
    this->name(name);
    members_.append(fmt::to_string(value));
    return *this;
}

JsonObject& JsonObject::real(std::string_view name, double value) {
    this->name(name);
    append_json_number(members_, value);
    return *this;
}

JsonObject& JsonObject::flag(std::string_view name, bool value) {
    this->name(name);
    members_.append(value ? "true" : "false");
    return *this;
}

JsonObject& JsonObject::null(std::string_view name) {
    this->name(name);
    members_.append("null");
    return *this;
}

JsonObject& JsonObject::object(std::string_view name, const JsonObject& value) {
    this->name(name);
    members_.append(value.str());
    return *this;
}

JsonObject& JsonObject::objects(std::string_view name, std::span<const JsonObject> values) {
    this->name(name);
    members_.push_back('[');
    for (const JsonObject& value : values) {
        members_.append(&value == values.data() ? "" : ",").append(value.str());
    }
    members_.push_back(']');
    return *this;
}

JsonObject& JsonObject::texts(std::string_view name, std::span<const std::string> values) {
    this->name(name);
    members_.push_back('[');
    for (const std::string& value : values) {
        members_.append(&value == values.data() ? "" : ",");
        append_json_string(members_, well_formed(value));
    }
    members_.push_back(']');
    return *this;
}

std::string Table::str() const {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        widths.push_back(columns_wide(columns_[i].title));
        for (const auto& row : rows_) {
            widths[i] = std::max(widths[i], columns_wide(row[i]));
        }
    }
    std::string text;
    const auto add_line = [&](const auto& cell_at) {
        std::string line;
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            const std::string_view cell = cell_at(i);
            const std::string padding(widths[i] - columns_wide(cell), ' ');
            const bool right = columns_[i].align == Align::kRight;
            line.append(i == 0 ? "" : "  ").append(right ? padding : "").append(cell);
            line.append(right ? "" : padding);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text.append(line).push_back('\n');
    };
    add_line([this](std::size_t i) { return std::string_view(columns_[i].title); });
    for (const auto& row : rows_) {
        add_line([&row](std::size_t i) { return std::string_view(row[i]); });
    }
    return text;
}

Output::Output()
    : stdout_shows_styles_(shows_styles(STDOUT_FILENO)),
      stderr_is_terminal_(::isatty(STDERR_FILENO) == 1) {}

void Output::line(std::string_view text) { this->text(fmt::format("{}\n", text)); }

void Output::text(std::string_view text) {
    end_progress();
    print(stdout, text);
}

void Output::table(const Table& table) {
    const std::string lines = table.str();
    const std::size_t title_end = lines.find('\n');
    text(styled(Style::kFaint, std::string_view(lines).substr(0, title_end)) +
         lines.substr(title_end));
}

void Output::object(const JsonObject& object) { line(object.str()); }

void Output::message(std::string_view text) {
    end_progress();
    if (!json()) {
        print(stderr, fmt::format("{}\n", text));
    }
}

void Output::error(const Error& error, ExitCode exit) {
    if (json()) {
        object(JsonObject("instep.error/1")
                   .text("code", to_string(error.code))
                   .count("exit", static_cast<std::uint64_t>(exit))
                   .text("message", error.message));
        return;
    }
    message(fmt::format("instep: {}", printable(error.message)));
}

void Output::progress(std::string_view text) {
    if (stderr_is_terminal_ && !json()) {
        print(stderr, fmt::format("\r\x1B[K{}", printable(text)));
        progress_shown_ = true;
    }
}

void Output::end_progress() {
    if (progress_shown_) {
        print(stderr, "\r\x1B[K");
        progress_shown_ = false;
    }
}

std::string Output::styled(Style style, std::string_view text) const {
    const bool shown = color_ == Color::kAlways || (color_ == Color::kAuto && stdout_shows_styles_);
    if (!shown || style == Style::kPlain) {
        return std::string(text);
    }
    return fmt::format("{}{}\x1B[0m", escape_of(style), text);
}

std::string printable(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const std::size_t length = character_length(text);
        const auto first = static_cast<unsigned char>(text.front());
        const bool c1_control =
            length == 2 && first == 0xC2U && static_cast<unsigned char>(text[1]) < 0xA0U;
        if (length == 0 || first < 0x20U || first == 0x7FU) {
            result.append(fmt::format("\\x{:02x}", first));
        } else if (c1_control) {
            result.append(fmt::format("\\x{:02x}", static_cast<unsigned char>(text[1])));
        } else {
            result.append(text.substr(0, length));
        }
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return result;
}

std::string grouped(std::uint64_t number) {
    std::string digits = fmt::to_string(number);
    for (std::size_t place = digits.size(); place > 3;) {
        place -= 3;
        digits.insert(place, 1, ',');
    }
    return digits;
}

std::string counted(std::uint64_t number, std::string_view noun) {
    return fmt::format("{} {}{}", grouped(number), noun, number == 1 ? "" : "s");
}

std::string rounded(std::chrono::microseconds time) {
    using namespace std::chrono;
    const double seconds = std::max(0.0, duration<double>(time).count());
    if (seconds < 10) {
        return fmt::format("{:.1f} s", seconds);
    }
    if (seconds < 120) {
        return fmt::format("{:.0f} s", seconds);
    }
    if (seconds < 7200) {
        return fmt::format("{:.0f} min", seconds / 60);
    }
    return seconds < 172'800 ? fmt::format("{:.0f} h", seconds / 3600)
                             : fmt::format("{:.0f} d", seconds / 86'400);
}

}  // namespace instep::cli
