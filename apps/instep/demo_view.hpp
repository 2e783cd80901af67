// What a person sees while a demo runs: on a terminal a picture that is drawn over itself,
// elsewhere a line a second.
#pragma once

#include "demo_latency.hpp"
#include "demo_system.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace instep::cli {

/// "3.1 ms", "12 s"; "-" for nothing.
std::string shown_delay(const std::optional<LatencyFigures>& figures,
                        double LatencyFigures::* figure);

/// For one thread.
class DemoView {
public:
    DemoView(DemoSystem& system, const LatencyProbe& probe, std::chrono::seconds length);

    /// What to type in another terminal, before the first show().
    void begin();

    /// To be called a few times a second.
    Result<void> show(const SystemLook& look, std::chrono::microseconds elapsed);

    /// Takes the picture away; lines stay.
    void end();

private:
    /// Counting reads the whole table, so it is done seldom if the table is large.
    struct RowCount {
        Connection& connection;
        std::string_view table;
        std::uint64_t rows = 0;
        std::chrono::microseconds next{0};
    };

    Result<void> count_rows();
    Result<void> draw(const SystemLook& look, std::chrono::microseconds elapsed);
    void print_line(const SystemLook& look, std::chrono::microseconds elapsed);
    [[nodiscard]] std::string rows_table(const SystemLook& look) const;
    [[nodiscard]] std::string hints() const;

    DemoSystem& system_;
    const LatencyProbe& probe_;
    const std::chrono::seconds length_;
    const bool draws_;
    std::vector<RowCount> counts_;
    std::size_t lines_drawn_ = 0;
    std::chrono::microseconds next_line_{0};
};

}  // namespace instep::cli
