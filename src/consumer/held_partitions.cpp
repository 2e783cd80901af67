#include "held_partitions.hpp"

#include "instep/telemetry/logger.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace instep {

HeldPartitions::~HeldPartitions() {
    for (auto& [partition, held] : held_) {
        give_up(held.lease);
    }
}

void HeldPartitions::give_up(Lease& lease) {
    if (const auto released = lease.release(connection_); !released) {
        logger_.warn("consumer.release_failed", {{"error", released.error().message}});
    }
}

bool HeldPartitions::is_assigned(std::uint32_t partition, const Held& held,
                                 std::span<const Assignment> assignments) {
    return std::ranges::any_of(assignments, [&](const Assignment& assignment) {
        return assignment.partition == partition && assignment.epoch == held.assignment_epoch;
    });
}

bool HeldPartitions::are_assigned(std::span<const Assignment> assignments) const {
    return std::ranges::all_of(
        held_, [&](const auto& held) { return is_assigned(held.first, held.second, assignments); });
}

std::vector<std::uint32_t> HeldPartitions::drop_unassigned(
    std::span<const Assignment> assignments) {
    std::vector<std::uint32_t> dropped;
    for (auto held = held_.begin(); held != held_.end();) {
        if (is_assigned(held->first, held->second, assignments)) {
            ++held;
            continue;
        }
        give_up(held->second.lease);
        dropped.push_back(held->first);
        held = held_.erase(held);
    }
    return dropped;
}

Result<bool> HeldPartitions::hold(std::span<const Assignment> assignments) {
    bool all_held = !assignments.empty();
    for (const Assignment& assignment : assignments) {
        auto held = held_.find(assignment.partition);
        if (held == held_.end()) {
            INSTEP_TRY_ASSIGN(
                Lease lease,
                Lease::create(
                    {fmt::format("consumer/{}/{}", options_.subscription, assignment.partition),
                     options_.member, options_.member_timeout, options_.condition}));
            held = held_
                       .emplace(assignment.partition, Held{std::move(lease), 0, assignment.epoch,
                                                           assignment.acknowledged})
                       .first;
        }
        INSTEP_TRY_ASSIGN(const bool holds, held->second.lease.hold(connection_));
        all_held = all_held && holds;
    }
    return all_held;
}

std::vector<HeldPartitions::Taken> HeldPartitions::taken() const {
    std::vector<Taken> partitions;
    for (const auto& [partition, held] : held_) {
        if (held.lease.held() && held.lease_epoch != held.lease.epoch()) {
            partitions.push_back({partition, held.lease.was_abandoned()});
        }
    }
    return partitions;
}

void HeldPartitions::settle() {
    for (auto& [partition, held] : held_) {
        if (held.lease.held()) {
            held.lease_epoch = held.lease.epoch();
        }
    }
}

Result<void> HeldPartitions::require(Transaction& transaction) const {
    for (const auto& [partition, held] : held_) {
        INSTEP_TRY(held.lease.require(transaction));
    }
    return {};
}

Result<void> HeldPartitions::start_over(Subscriber& subscriber) {
    for (auto& [partition, held] : held_) {
        held.lease.lose();
        held.must_go_back = true;
    }
    return go_back(subscriber);
}

Result<void> HeldPartitions::go_back(Subscriber& subscriber) {
    for (auto& [partition, held] : held_) {
        if (!held.must_go_back) {
            continue;
        }
        const auto sought = subscriber.seek(partition, held.acknowledged);
        if (!sought && sought.error().code != ErrorCode::kFenced) {
            return sought;
        }
        held.must_go_back = false;
    }
    return {};
}

void HeldPartitions::acknowledged(std::uint32_t partition, Position position) {
    if (const auto held = held_.find(partition); held != held_.end()) {
        held->second.acknowledged = position;
    }
}

Position HeldPartitions::acknowledged(std::uint32_t partition) const {
    return held_.at(partition).acknowledged;
}

std::vector<std::uint32_t> HeldPartitions::partitions() const {
    std::vector<std::uint32_t> partitions;
    for (const auto& [partition, held] : held_) {
        partitions.push_back(partition);
    }
    return partitions;
}

}  // namespace instep
