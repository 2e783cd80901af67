#include "boundary_intake.hpp"

#include "instep/log/boundary.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace instep {

std::vector<Delivery> BoundaryIntake::take(std::vector<Delivery> received) {
    if (passes_) {
        pass(received);
        return {};
    }
    std::size_t whole = 0;
    for (Delivery& delivery : received) {
        const bool ends = ends_transactions(delivery);
        bytes_held_ += delivery.event.data.size();
        held_.push_back(std::move(delivery));
        whole = ends ? held_.size() : whole;
    }
    std::vector<Delivery> taken = take_whole(whole);
    if (held_.size() > events_max_ || bytes_held_ > bytes_max_) {
        passes_ = true;
        held_.clear();
        bytes_held_ = 0;
    }
    return taken;
}

/// Chunks and digests are no part of a transaction.
bool BoundaryIntake::ends_transactions(const Delivery& delivery) {
    const Event& event = delivery.event;
    if (delivery.malformed || speaks_of_range(event.operation)) {
        return false;
    }
    if (!is_boundary(event)) {
        newest_ = std::max(newest_, event.version);
        return false;
    }
    if (event.version < newest_) {
        return false;
    }
    newest_ = {};
    return true;
}

std::vector<Delivery> BoundaryIntake::take_whole(std::size_t count) {
    const auto end = held_.begin() + static_cast<std::ptrdiff_t>(count);
    std::vector<Delivery> rest(std::make_move_iterator(end), std::make_move_iterator(held_.end()));
    held_.erase(end, held_.end());
    std::vector<Delivery> whole = std::exchange(held_, std::move(rest));
    for (const Delivery& delivery : whole) {
        bytes_held_ -= delivery.event.data.size();
    }
    return whole;
}

void BoundaryIntake::pass(const std::vector<Delivery>& received) {
    for (const Delivery& delivery : received) {
        if (ends_transactions(delivery)) {
            far_boundary_ = delivery.position;
        }
    }
    passes_ = !far_boundary_;
}

void BoundaryIntake::forget() {
    held_.clear();
    bytes_held_ = 0;
    newest_ = {};
    passes_ = false;
    far_boundary_.reset();
}

}  // namespace instep
