// Structured logs: what happened as a fixed name, the rest as fields.
//
//   log.info("relay.published", {{"topic", topic}, {"count", 12}});
#pragma once

#include "instep/base/clock.hpp"
#include "instep/telemetry/log_sink.hpp"

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace instep {

/// How much a line matters. kError asks for a person.
enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError };

/// "debug", "info", "warn" or "error".
std::string_view to_string(LogLevel level) noexcept;

/// Errors: kInvalidArgument for another word.
Result<LogLevel> parse_log_level(std::string_view text);

/// kText is logfmt (`level=info message=relay.published count=12`), kJson an object a line.
enum class LogFormat : std::uint8_t { kText, kJson };

/// A name and a plain value; both views, for the time of one call. URLs go through
/// redact_url() first.
class LogField {
public:
    template <std::convertible_to<std::string_view> Text>
    LogField(std::string_view name, const Text& text)
        : name_(name), value_(std::string_view(text)) {}

    template <std::signed_integral Integer>
    LogField(std::string_view name, Integer value) : name_(name), value_(std::int64_t{value}) {}

    template <std::unsigned_integral Integer>
        requires(!std::same_as<Integer, bool>)
    LogField(std::string_view name, Integer value) : name_(name), value_(std::uint64_t{value}) {}

    template <std::same_as<bool> Flag>
    LogField(std::string_view name, Flag value) : name_(name), value_(value) {}

    LogField(std::string_view name, double value) : name_(name), value_(value) {}

    /// One of the value types only, so that no pointer or object slips in as a number.
    using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;

    [[nodiscard]] std::string_view name() const noexcept { return name_; }
    [[nodiscard]] const Value& value() const noexcept { return value_; }

private:
    std::string_view name_;
    Value value_;
};

using LogFields = std::initializer_list<LogField>;

/// What a logger writes, and how.
struct LoggerOptions {
    /// Lines below are not written.
    LogLevel level = LogLevel::kInfo;

    /// How a line looks.
    LogFormat format = LogFormat::kText;
};

/// Longer text values are cut there, with "…" behind.
inline constexpr std::size_t kLogTextBytesMax = 4096;

/// Safe to use from any thread. Borrows its sink and clock.
class Logger {
public:
    Logger(LogSink& sink, const Clock& clock, LoggerOptions options = {});

    /// A logger that adds these fields to every line, such as service or trace_id.
    [[nodiscard]] Logger with(LogFields fields) const;

    void debug(std::string_view message, LogFields fields = {}) const;
    void info(std::string_view message, LogFields fields = {}) const;
    void warn(std::string_view message, LogFields fields = {}) const;
    void error(std::string_view message, LogFields fields = {}) const;

    /// For fields that cost something to make.
    [[nodiscard]] bool writes(LogLevel level) const noexcept { return level >= options_.level; }

private:
    void write(LogLevel level, std::string_view message, LogFields fields) const;

    LogSink* sink_;
    const Clock* clock_;
    LoggerOptions options_;

    /// The fields of with(), in the logger's format.
    std::string context_;
};

}  // namespace instep
