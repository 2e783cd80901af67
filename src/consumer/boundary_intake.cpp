#include "boundary_intake.hpp"

#include "instep/log/boundary.hpp"

#include <algorithm>
#include <iterator>

namespace instep {

namespace {

bool ends_transactions(const Delivery& delivery) {
    return !delivery.malformed && is_boundary(delivery.event);
}

}  // namespace

std::vector<Delivery> BoundaryIntake::take(std::vector<Delivery> received) {
    if (passes_) {
        for (const Delivery& delivery : received) {
            if (ends_transactions(delivery)) {
                far_boundary_ = delivery.position;
            }
        }
        passes_ = !far_boundary_;
        return {};
    }
    for (Delivery& delivery : received) {
        bytes_held_ += delivery.event.data.size();
        held_.push_back(std::move(delivery));
    }
    const auto last = std::find_if(held_.rbegin(), held_.rend(), ends_transactions);
    std::vector<Delivery> whole;
    if (last != held_.rend()) {
        std::vector<Delivery> rest(std::move_iterator(last.base()),
                                   std::move_iterator(held_.end()));
        held_.erase(last.base(), held_.end());
        whole = std::exchange(held_, std::move(rest));
        bytes_held_ = 0;
        for (const Delivery& delivery : held_) {
            bytes_held_ += delivery.event.data.size();
        }
    }
    if (held_.size() > events_max_ || bytes_held_ > bytes_max_) {
        passes_ = true;
        held_.clear();
        bytes_held_ = 0;
    }
    return whole;
}

void BoundaryIntake::forget() {
    held_.clear();
    bytes_held_ = 0;
    passes_ = false;
    far_boundary_.reset();
}

}  // namespace instep
