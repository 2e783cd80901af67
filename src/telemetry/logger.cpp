#include "instep/telemetry/logger.hpp"

#include "instep/base/bytes.hpp"
#include "instep/event/json_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <type_traits>

namespace instep {

namespace {

constexpr std::array kLevels = {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn,
                                LogLevel::kError};

/// What log collectors can read: UTF-8 of bounded length.
std::string readable(std::string_view text) {
    std::size_t length = std::min(text.size(), kLogTextBytesMax);
    const bool cut = length < text.size();
    while (cut && length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0U) == 0x80U) {
        --length;
    }
    std::string shown(text.substr(0, length));
    if (!is_utf8(shown)) {
        std::ranges::replace_if(
            shown, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
    }
    return cut ? shown + "…" : shown;
}

bool needs_quotes(std::string_view text) {
    return text.empty() || std::ranges::any_of(text, [](char c) {
               return static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '=' || c == '\\';
           });
}

void append_text(std::string& out, std::string_view text, LogFormat format) {
    const std::string shown = readable(text);
    if (format == LogFormat::kJson || needs_quotes(shown)) {
        append_json_string(out, shown);
    } else {
        out.append(shown);
    }
}

void append_value(std::string& out, const LogField::Value& value, LogFormat format) {
    std::visit(
        [&](const auto& held) {
            using Held = std::decay_t<decltype(held)>;
            if constexpr (std::is_same_v<Held, std::string_view>) {
                append_text(out, held, format);
            } else if constexpr (std::is_same_v<Held, double>) {
                append_json_number(out, held);
            } else {
                fmt::format_to(std::back_inserter(out), "{}", held);
            }
        },
        value);
}

void append_field(std::string& out, const LogField& field, LogFormat format) {
    if (format == LogFormat::kJson) {
        out.append(out.empty() || out.back() == '{' ? "" : ",");
        append_json_string(out, field.name());
        out.push_back(':');
    } else {
        out.append(out.empty() ? "" : " ").append(field.name()).push_back('=');
    }
    append_value(out, field.value(), format);
}

}  // namespace

std::string_view to_string(LogLevel level) noexcept {
    switch (level) {
        case LogLevel::kDebug:
            return "debug";
        case LogLevel::kInfo:
            return "info";
        case LogLevel::kWarn:
            return "warn";
        case LogLevel::kError:
            return "error";
    }
    return "error";
}

Result<LogLevel> parse_log_level(std::string_view text) {
    for (const LogLevel level : kLevels) {
        if (text == to_string(level)) {
            return level;
        }
    }
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("\"{}\" is no log level; debug, info, warn and error are", text));
}

Logger::Logger(LogSink& sink, const Clock& clock, LoggerOptions options)
    : sink_(&sink), clock_(&clock), options_(options) {}

Logger Logger::with(LogFields fields) const {
    Logger child = *this;
    for (const LogField& field : fields) {
        append_field(child.context_, field, options_.format);
    }
    return child;
}

void Logger::debug(std::string_view message, LogFields fields) const {
    write(LogLevel::kDebug, message, fields);
}

void Logger::info(std::string_view message, LogFields fields) const {
    write(LogLevel::kInfo, message, fields);
}

void Logger::warn(std::string_view message, LogFields fields) const {
    write(LogLevel::kWarn, message, fields);
}

void Logger::error(std::string_view message, LogFields fields) const {
    write(LogLevel::kError, message, fields);
}

void Logger::write(LogLevel level, std::string_view message, LogFields fields) const {
    if (!writes(level)) {
        return;
    }
    const bool json = options_.format == LogFormat::kJson;
    std::string line = json ? "{" : "";
    append_field(line, {"time", format_time(clock_->now())}, options_.format);
    append_field(line, {"level", to_string(level)}, options_.format);
    append_field(line, {"message", message}, options_.format);
    if (!context_.empty()) {
        line.append(json ? "," : " ").append(context_);
    }
    for (const LogField& field : fields) {
        append_field(line, field, options_.format);
    }
    sink_->write(line.append(json ? "}\n" : "\n"));
}

}  // namespace instep
