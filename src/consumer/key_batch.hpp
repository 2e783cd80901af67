// Applies what was received key by key: any run of events takes effect at once, and a key whose
// event is refused is set aside with everything behind it.
#pragma once

#include "attempts.hpp"
#include "workplace.hpp"

#include <cstddef>
#include <optional>
#include <span>

namespace instep {

/// How far a batch got.
struct Dealt {
    /// Deliveries from the first that took effect or were set aside.
    std::size_t deliveries = 0;

    /// Why the rest was not tried; nothing if it may be tried next.
    std::optional<Error> failure{};
};

/// For one thread at a time. Borrows the workplace.
class KeyBatch {
public:
    explicit KeyBatch(Workplace& work) : work_(work) {}

    /// One transaction for all. When an event is to blame, a second one finds out which, parks its
    /// key and applies the rest. Where the policy is to stop at a failure, or the target is down,
    /// all before it takes effect, and what is behind is not tried.
    Result<Dealt> apply(std::span<const Delivery> pending);

    /// Sets the delivery aside, with its key, without trying it.
    Result<void> give_up(const Delivery& delivery, const KeyFailure& failure);

private:
    Result<void> in_one_piece(std::span<const Delivery> pending);
    Result<void> by_lanes(std::span<const Delivery> pending);
    Result<Dealt> in_order(std::span<const Delivery> pending);

    /// What a transaction holds on the way.
    struct Course {
        Attempts attempts;
        Timestamp now;
        ApplyCounts counts{};
    };

    /// Tries the event by itself; parks it if it is to blame. Returns whether what is behind it may
    /// be tried.
    Result<bool> try_one(Course& course, const Delivery& delivery);
    void set_aside(const Delivery& delivery, Timestamp now);
    /// True if events of its key are parked. What a replay passes over waits for nothing.
    [[nodiscard]] bool waits(const Delivery& delivery) const;
    Deliveries set_aside_parked(const Deliveries& deliveries, Timestamp now);
    Result<void> apply_lane(Course& course, const Deliveries& lane);

    /// Parks what was refused, and the key with it.
    void refuse(const Delivery& delivery, const KeyFailure& failure, Timestamp now);

    Workplace& work_;
};

}  // namespace instep
