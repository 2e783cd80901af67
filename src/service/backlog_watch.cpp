#include "backlog_watch.hpp"

#include <fmt/format.h>

namespace instep {

std::string BacklogWatch::look(const std::string& flow, Backlog backlog,
                               std::chrono::microseconds now) {
    const auto [found, is_new] = seen_.try_emplace(flow, Seen{backlog, now});
    Seen& seen = found->second;
    const bool moved = backlog.mark != seen.backlog.mark || backlog.events < seen.backlog.events;
    if (moved || seen.backlog.events == 0) {
        seen.moved = now;
    }
    seen.backlog = backlog;
    if (backlog.events == 0 || now - seen.moved < patience_) {
        return {};
    }
    return fmt::format("{} events wait, and none has moved for {} s", backlog.events,
                       std::chrono::duration_cast<std::chrono::seconds>(now - seen.moved).count());
}

}  // namespace instep
