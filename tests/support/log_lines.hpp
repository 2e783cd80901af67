#pragma once

#include "instep/telemetry/log_sink.hpp"

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace instep::test {

/// Keeps log lines, without their line feeds.
class LogLines final : public LogSink {
public:
    void write(std::string_view line) override {
        const std::scoped_lock lock(mutex_);
        lines_.emplace_back(line.substr(0, line.size() - 1));
    }

    [[nodiscard]] std::vector<std::string> lines() const {
        const std::scoped_lock lock(mutex_);
        return lines_;
    }

    /// How many lines hold `text`.
    [[nodiscard]] std::size_t count(std::string_view text) const {
        const std::scoped_lock lock(mutex_);
        std::size_t found = 0;
        for (const std::string& line : lines_) {
            found += line.find(text) != std::string::npos ? 1 : 0;
        }
        return found;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::string> lines_;
};

}  // namespace instep::test
