// What happened in a run, as a hash of everything and, when asked for, as text.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace instep::simulation {

/// What becomes of the text of events. The hash is the same with each.
enum class TraceText : std::uint8_t { kNone, kLast, kPrinted };

class Trace {
public:
    explicit Trace(TraceText text) : text_(text) {}

    /// `who` did `what` at `time`, on `detail`, with this outcome.
    void add(std::chrono::microseconds time, std::string_view who, std::string_view what,
             std::string_view detail, std::string_view outcome);

    /// A line for the reader, not part of the hash.
    void note(std::string line);
    [[nodiscard]] bool keeps_text() const noexcept { return text_ != TraceText::kNone; }

    /// Two runs with the same hash did the same.
    [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }
    [[nodiscard]] std::uint64_t events() const noexcept { return events_; }

    /// The newest lines, oldest first.
    [[nodiscard]] const std::deque<std::string>& last_lines() const noexcept { return lines_; }

private:
    TraceText text_;
    std::uint64_t hash_ = 0;
    std::uint64_t events_ = 0;
    std::deque<std::string> lines_;
};

}  // namespace instep::simulation
