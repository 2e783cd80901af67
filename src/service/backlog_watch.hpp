// Tells a flow that moves slowly from one that does not move.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace instep {

/// What waits for a flow, as database or broker show it.
struct Backlog {
    std::uint64_t events = 0;

    /// Changes whenever the flow moves, whichever process moved it.
    std::uint64_t mark = 0;
};

/// For one thread at a time.
class BacklogWatch {
public:
    explicit BacklogWatch(std::chrono::seconds patience) : patience_(patience) {}

    /// Why the flow is stalled; empty if it moves or has nothing to do. `now` is monotonic.
    std::string look(const std::string& flow, Backlog backlog, std::chrono::microseconds now);

private:
    struct Seen {
        Backlog backlog;
        std::chrono::microseconds moved{0};
    };

    const std::chrono::seconds patience_;
    std::map<std::string, Seen> seen_;
};

}  // namespace instep
