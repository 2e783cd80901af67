// Applies a topic of whole transactions (log/boundary.hpp): each takes effect as a whole, and one
// that is refused stops the subscription. Only chunks and digests are set aside.
#pragma once

#include "boundary_intake.hpp"
#include "workplace.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace instep {

/// For one thread at a time. Borrows the workplace and the subscriber.
class WholeTransactions {
public:
    WholeTransactions(Workplace& work, Subscriber& subscriber);

    /// Takes in what was received next; returns what may be applied now.
    std::vector<Delivery> take(std::vector<Delivery> received) {
        if (!received.empty()) {
            waits_since_.reset();
        }
        return intake_.take(std::move(received));
    }

    /// To be called when nothing was received. A broker that wants to give the partition to another
    /// member delivers nothing more here as long as something is unacknowledged: so whoever waits
    /// for a boundary in vain has what it holds delivered again, here or there.
    Result<void> nothing_came();

    /// What was taken in is delivered again.
    void forget() {
        intake_.forget();
        waits_since_.reset();
        far_applied_.reset();
    }

    /// As take() returned it.
    Result<void> apply(std::span<const Delivery> pending);

    /// Transactions that are too large to hold stand at the broker as a whole.
    [[nodiscard]] bool has_far() const { return intake_.far_boundary().has_value(); }

    /// Reads those again from the beginning, applies them part by part in one transaction, and
    /// acknowledges them. Returns how many deliveries that were.
    Result<std::uint64_t> apply_far();

private:
    Result<void> apply_pending(std::span<const Delivery> pending);
    Result<std::uint64_t> apply_or_set_aside();
    Result<std::uint64_t> apply_parts();
    Result<std::vector<Delivery>> receive_again(Position end);
    Result<Deliveries> set_aside_ranges(Transaction& transaction, const Deliveries& deliveries,
                                        Timestamp now);
    [[nodiscard]] std::unexpected<Error> refused(Error error) const;

    Workplace& work_;
    Subscriber& subscriber_;
    BoundaryIntake intake_;
    std::optional<Timestamp> waits_since_;

    /// How many deliveries have taken effect of what is too large to hold; they are not
    /// acknowledged yet.
    std::optional<std::uint64_t> far_applied_;

    /// Why chunks and digests are set aside in this attempt; nothing if they are tried.
    std::optional<Error> range_refusal_;
};

}  // namespace instep
