// The partitions that a member works on, each by a lease in the consumer's database: what a
// former holder does afterwards never commits.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/consumer/consumer.hpp"
#include "instep/db/connection.hpp"
#include "instep/lease/lease.hpp"

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace instep {

/// For one thread at a time. Borrows everything it is made from.
class HeldPartitions {
public:
    HeldPartitions(const ConsumerOptions& options, Connection& connection, Logger& logger)
        : options_(options), connection_(connection), logger_(logger) {}
    HeldPartitions(const HeldPartitions&) = delete;
    HeldPartitions& operator=(const HeldPartitions&) = delete;

    /// Gives all of them up.
    ~HeldPartitions();

    /// Gives up those that the broker assigned to somebody else; returns which.
    std::vector<std::uint32_t> drop_unassigned(std::span<const Assignment> assignments);

    /// False if one of them was assigned anew, or to somebody else.
    [[nodiscard]] bool are_assigned(std::span<const Assignment> assignments) const;

    /// Takes or renews the lease of every partition that the broker assigned; false as long as a
    /// former holder's lease has not run out.
    Result<bool> hold(std::span<const Assignment> assignments);

    /// A partition that was held by somebody else.
    struct Taken {
        std::uint32_t partition = 0;
        bool was_abandoned = false;
    };

    /// Those that were taken since settle(): what others did to them must be read.
    [[nodiscard]] std::vector<Taken> taken() const;
    void settle();

    /// Errors: kFenced if one of them is held no more, which the transaction's next statement may
    /// tell in place of this call.
    Result<void> require(Transaction& transaction) const;

    /// After kFenced: has everything that was not acknowledged delivered again. Errors: those of
    /// Subscriber::seek(); until go_back() succeeds, nothing may be received.
    Result<void> start_over(Subscriber& subscriber);

    /// The rest of a start_over() that failed.
    Result<void> go_back(Subscriber& subscriber);

    void acknowledged(std::uint32_t partition, Position position);

    /// Where the partition's deliveries start.
    [[nodiscard]] Position acknowledged(std::uint32_t partition) const;

    [[nodiscard]] std::vector<std::uint32_t> partitions() const;

    /// The lowest one; there must be one.
    [[nodiscard]] std::uint32_t first() const { return held_.begin()->first; }

private:
    void give_up(Lease& lease);

    struct Held {
        Lease lease;

        /// What was settled.
        std::uint64_t lease_epoch = 0;
        std::uint64_t assignment_epoch = 0;
        Position acknowledged = 0;

        /// What was delivered behind `acknowledged` has been dropped and is to come again.
        bool must_go_back = false;
    };

    static bool is_assigned(std::uint32_t partition, const Held& held,
                            std::span<const Assignment> assignments);

    const ConsumerOptions& options_;
    Connection& connection_;
    Logger& logger_;
    std::map<std::uint32_t, Held> held_;
};

}  // namespace instep
