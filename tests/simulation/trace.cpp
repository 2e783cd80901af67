#include "tests/simulation/trace.hpp"

#include "instep/base/bytes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace instep::simulation {

namespace {

constexpr std::size_t kLinesKept = 100;
constexpr std::size_t kDetailShownMax = 150;

}  // namespace

void Trace::add(std::chrono::microseconds time, std::string_view who, std::string_view what,
                std::string_view detail, std::string_view outcome) {
    ++events_;
    for (const std::string_view part : {who, what, detail, outcome}) {
        hash_ = (hash_ ^ key_hash(part)) * 0x9E3779B97F4A7C15U;
        hash_ ^= hash_ >> 29U;
    }
    hash_ += static_cast<std::uint64_t>(time.count());
    if (text_ == TraceText::kNone) {
        return;
    }
    note(fmt::format("{:10.3f} {:<14} {:<10} {} {}", static_cast<double>(time.count()) / 1e6, who,
                     what, outcome, detail.substr(0, kDetailShownMax)));
}

void Trace::note(std::string line) {
    std::ranges::replace(line, '\n', ' ');
    if (text_ == TraceText::kPrinted) {
        std::puts(line.c_str());
    }
    lines_.push_back(std::move(line));
    if (lines_.size() > kLinesKept) {
        lines_.pop_front();
    }
}

}  // namespace instep::simulation
