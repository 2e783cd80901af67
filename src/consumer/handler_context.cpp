#include "instep/consumer/handler_context.hpp"

#include "correlation.hpp"
#include "replay_mark.hpp"

#include <fmt/format.h>

#include <span>

namespace instep {

HandlerContext::HandlerContext(Transaction& transaction, const Event& event, std::uint32_t attempt,
                               const HandlerTools& tools)
    : transaction_(transaction), event_(event), attempt_(attempt), tools_(tools) {
    if (const auto parent = parse_trace_parent(event.trace_parent)) {
        span_ = child_of(*parent, tools_.random);
    }
}

bool HandlerContext::is_replay() const { return replay_mark(event_).has_value(); }

std::string HandlerContext::idempotency_key() const {
    return fmt::format("{}/{}", event_.source, event_.id);
}

Result<void> HandlerContext::publish(NewEvent event) const {
    if (event.correlation_id.empty()) {
        event.correlation_id = correlation_of(event_);
    }
    if (event.causation_id.empty()) {
        event.causation_id = event_.id;
    }
    if (event.trace_parent.empty() && span_) {
        event.trace_parent = to_trace_parent(*span_);
    }
    auto appended = append_one(std::move(event));
    if (!appended && !unpublished_) {
        unpublished_ = appended.error();
    }
    return appended;
}

Result<void> HandlerContext::append_one(NewEvent event) const {
    if (tools_.contract != nullptr) {
        INSTEP_TRY(tools_.contract->check(event));
    }
    INSTEP_TRY(append(transaction_, std::span(&event, 1)));
    return {};
}

}  // namespace instep
