// What replays of a subscription are to bring, from what the broker had delivered before and what
// the database says of them. Each begins where it was asked to.
#pragma once

#include "instep/base/random.hpp"
#include "instep/broker/broker.hpp"
#include "tests/simulation/findings.hpp"
#include "tests/simulation/sim_database.hpp"

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep::simulation {

/// An event of the source, by its number in the log, as it is to take effect once: when it comes
/// for the first time (0), or in the replay of this number.
struct Turn {
    std::int64_t replay = 0;
    std::uint64_t seq = 0;

    friend auto operator<=>(const Turn&, const Turn&) = default;
};

Turn turn_of(const Event& event);

/// Borrows the database and the findings.
class ReplayWatch {
public:
    /// An event of the past.
    struct Past {
        std::string key;
        std::uint64_t seq = 0;
        Timestamp time{};
    };

    struct Replay {
        std::uint32_t partition = 0;

        /// As ReplayStart has it.
        std::string start;
        std::int64_t start_at = 0;

        /// Empty for all.
        std::string key;
        std::string state;

        /// What it is to bring, each event once, as the partition first has it; known once it has
        /// begun.
        std::vector<Past> events{};

        [[nodiscard]] bool brings(std::uint64_t seq) const;
    };
    using Replays = std::map<std::int64_t, Replay>;

    ReplayWatch(const SimDatabase& database, std::string subscription, Findings& findings)
        : database_(database), subscription_(std::move(subscription)), findings_(findings) {}

    void delivered(const Delivery& delivery);

    /// After a commit that changed replays. Returns those that are done since.
    std::vector<std::int64_t> look();

    /// The oldest events may have been deleted.
    void trimmed() { is_trimmed_ = true; }

    /// From now on a replay from the beginning has to bring all that was delivered.
    void expect_to_reach_all();

    /// By number, the refused ones too.
    [[nodiscard]] const Replays& all() const { return replays_; }
    [[nodiscard]] bool are_over() const;

    /// Where an event stands; nothing while there is none.
    struct Place {
        std::uint32_t partition = 0;
        Position position = 0;
        Past event;
    };
    [[nodiscard]] std::optional<Place> draw_place(Random& random) const;

private:
    using PastEvents = std::map<Position, Past>;

    /// Of one partition.
    [[nodiscard]] const PastEvents& past_of(std::uint32_t partition) const;
    void begin(std::int64_t number, Replay& replay, Position from, Position until);
    void check_start(std::int64_t number, const Replay& replay, Position from,
                     Position until) const;

    const SimDatabase& database_;
    const std::string subscription_;
    Findings& findings_;
    Replays replays_;

    /// Rows that were delivered, by partition and position.
    std::map<std::uint32_t, PastEvents> past_;
    std::map<std::uint32_t, Position> to_reach_;
    bool is_trimmed_ = false;
};

}  // namespace instep::simulation
