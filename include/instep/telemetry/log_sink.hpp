// Where log lines go.
#pragma once

#include <string_view>

namespace instep {

/// Takes finished lines. Safe to call from any thread.
class LogSink {
public:
    virtual ~LogSink() = default;

    /// `line` ends with a line feed. A line that cannot be written is lost: a service does not
    /// stop because nobody reads its log.
    virtual void write(std::string_view line) = 0;
};

/// Writes to a file descriptor, each line with one write(2), so that lines of several threads
/// and processes do not mix. Borrows the descriptor.
class FileLogSink final : public LogSink {
public:
    explicit FileLogSink(int descriptor) : descriptor_(descriptor) {}
    void write(std::string_view line) override;

private:
    int descriptor_;
};

}  // namespace instep
