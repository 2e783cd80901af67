#include "deliveries.hpp"

#include "instep/base/bytes.hpp"
#include "instep/log/boundary.hpp"

#include <utility>

namespace instep {

bool blames_event(ErrorCode code) {
    return code == ErrorCode::kRejected || code == ErrorCode::kCorrupt ||
           code == ErrorCode::kInvalidArgument || code == ErrorCode::kLimitExceeded ||
           code == ErrorCode::kUnsupported;
}

Deliveries all_of(std::span<const Delivery> deliveries) {
    Deliveries all;
    all.reserve(deliveries.size());
    for (const Delivery& delivery : deliveries) {
        all.push_back(&delivery);
    }
    return all;
}

std::vector<const Event*> events_of(std::span<const Delivery* const> deliveries) {
    std::vector<const Event*> events;
    events.reserve(deliveries.size());
    for (const Delivery* delivery : deliveries) {
        if (!is_boundary(delivery->event)) {
            events.push_back(&delivery->event);
        }
    }
    return events;
}

std::vector<Deliveries> split_into_lanes(const Deliveries& deliveries, std::uint32_t lanes) {
    std::vector<Deliveries> pieces;
    std::vector<Deliveries> open(lanes);
    const auto close_lanes = [&] {
        for (Deliveries& lane : open) {
            if (!lane.empty()) {
                pieces.push_back(std::exchange(lane, {}));
            }
        }
    };
    for (const Delivery* delivery : deliveries) {
        if (speaks_of_range(delivery->event.operation)) {
            close_lanes();
            pieces.push_back({delivery});
        } else {
            open[key_hash(delivery->event.key) % lanes].push_back(delivery);
        }
    }
    close_lanes();
    return pieces;
}

Positions newest_positions(std::span<const Delivery> deliveries) {
    Positions reached;
    for (const Delivery& delivery : deliveries) {
        Reached& next = reached[delivery.partition];
        next.partition = delivery.partition;
        next.position = delivery.position;
        if (!delivery.malformed) {
            next.newest = &delivery.event;
        }
    }
    return reached;
}

}  // namespace instep
