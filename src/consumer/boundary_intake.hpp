// Deliveries of a topic of whole transactions, held until a boundary says that they are whole.
#pragma once

#include "instep/broker/broker.hpp"

#include <cstddef>
#include <optional>
#include <vector>

namespace instep {

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

    /// What was taken in is delivered again.
    void forget();

private:
    const std::size_t events_max_;
    const std::size_t bytes_max_;
    std::vector<Delivery> held_;
    std::size_t bytes_held_ = 0;
    bool passes_ = false;
    std::optional<Position> far_boundary_;
};

}  // namespace instep
