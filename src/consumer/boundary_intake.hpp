// Deliveries of a topic of whole transactions, held until a boundary says that they are whole.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/event/version.hpp"

#include <cstddef>
#include <optional>
#include <vector>

namespace instep {

/// A boundary ends what is not newer than itself. An older one may come behind half of a newer
/// transaction: from a relay that was replaced and goes on publishing, from one that took over and
/// publishes again, or when the broker delivers again.
///
/// For one thread at a time. Holds a bounded number of events. What goes beyond is let pass until
/// its boundary is seen: then it stands at the broker as a whole, and can be read again in parts.
class BoundaryIntake {
public:
    BoundaryIntake(std::size_t events_max, std::size_t bytes_max)
        : events_max_(events_max), bytes_max_(bytes_max) {}

    /// Takes in what was received next; returns everything up to the last boundary, itself
    /// included.
    std::vector<Delivery> take(std::vector<Delivery> received);

    /// Where transactions end that were too large to hold; until then take() returns nothing.
    [[nodiscard]] std::optional<Position> far_boundary() const noexcept { return far_boundary_; }

    /// Something was taken in whose boundary has not come yet.
    [[nodiscard]] bool waits() const noexcept { return passes_ || !held_.empty(); }

    /// What was taken in is delivered again.
    void forget();

private:
    /// True if nothing that was taken in so far is half told behind the delivery.
    bool ends_transactions(const Delivery& delivery);
    std::vector<Delivery> take_whole(std::size_t count);
    void pass(const std::vector<Delivery>& received);

    const std::size_t events_max_;
    const std::size_t bytes_max_;
    std::vector<Delivery> held_;
    std::size_t bytes_held_ = 0;

    /// Of the changes that no boundary has ended yet.
    Version newest_{};
    bool passes_ = false;
    std::optional<Position> far_boundary_;
};

}  // namespace instep
