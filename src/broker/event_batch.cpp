#include "instep/broker/event_batch.hpp"

#include <algorithm>

namespace instep {

std::size_t event_bytes(const Event& event) {
    std::size_t bytes = event.id.size() + event.source.size() + event.type.size() +
                        event.key.size() + event.stream.size() + event.content_type.size() +
                        event.schema.size() + event.correlation_id.size() +
                        event.causation_id.size() + event.trace_parent.size() + event.data.size();
    for (const auto& [name, value] : event.extensions) {
        bytes += name.size() + value.size();
    }
    return bytes;
}

std::vector<const Event*> last_of_each_source(std::span<const Event> events) {
    std::vector<const Event*> last;
    for (const Event& event : events) {
        const auto same =
            std::ranges::find(last, event.source, [](const Event* seen) { return seen->source; });
        if (same == last.end()) {
            last.push_back(&event);
        } else {
            *same = &event;
        }
    }
    return last;
}

}  // namespace instep
