// Known bugs of systems like this one, planted from outside: by changing what a process gets
// of its database, its broker and its other ports. Production code has no hook for them.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/consumer/consumer_options.hpp"
#include "instep/consumer/handler.hpp"
#include "instep/db/database.hpp"
#include "instep/log/reader.hpp"
#include "tests/simulation/broker_kind.hpp"
#include "tests/simulation/options.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace instep::simulation {

/// What a process is there for; the broker is none of them.
enum class Role : std::uint8_t {
    kWriter,
    kRelay,
    kRequests,
    kReplica,
    kGroup,
    kEffects,
    kOperator,
    kBroker,
};

/// A change to statements of a process that hold the text `where`.
struct SqlEdit {
    enum class Kind : std::uint8_t {
        kReplace,      ///< Every `part` becomes `replacement`.
        kSkip,         ///< Not run, and said to have changed one row.
        kCommitAfter,  ///< The transaction is committed behind it, and another begun.

        /// The connection tells no other time before the transaction behind its next.
        kStopClock,
    };

    Kind kind = Kind::kReplace;
    std::string_view where;
    std::string_view part{};
    std::string_view replacement{};

    /// Only where a parameter is the version of a chunk.
    bool only_chunks = false;
};

/// What a process with the bug is given in place of the real thing; empty members change
/// nothing.
struct PlantedBug {
    std::string_view name;
    std::string_view meaning;
    Role role = Role::kRelay;
    std::vector<SqlEdit> edits{};

    /// Lease::check() is told what it wants to hear.
    bool trusts_lease = false;

    std::function<std::unique_ptr<Publisher>(std::unique_ptr<Publisher>, Database&)> publisher{};
    std::function<std::unique_ptr<Subscriber>(std::unique_ptr<Subscriber>)> subscriber{};
    std::function<std::unique_ptr<ChunkSource>(ChunkSource&)> chunks{};
    std::function<std::unique_ptr<Handler>(Handler&)> handler{};

    /// How a consumer is made; those who watch it believe in the real options.
    std::function<void(ConsumerOptions&)> consumer{};

    /// What writers do before they commit.
    std::function<void(Transaction&, Publisher&)> before_commit{};

    /// The operator trims what a broker may still redeliver.
    bool trims_too_early = false;

    /// Changes what a seed drew, where the bug would show itself too seldom.
    std::function<void(Options&)> setting{};

    /// What is wrong with the broker, and which kind has it; a run with the bug has this kind.
    BrokerBug broker_bug = BrokerBug::kNone;
    std::optional<BrokerKind> broker{};
};

std::span<const PlantedBug> planted_bugs();

/// Those of the brokers alone.
std::vector<PlantedBug> broker_bugs();

/// Those of whole transactions.
std::vector<PlantedBug> group_bugs();

/// Those of failing handlers and parked keys.
std::vector<PlantedBug> handler_bugs();

/// Those of pauses, rates, replays and the time that parked keys may take.
std::vector<PlantedBug> flow_bugs();

/// nullptr if there is none of this name.
const PlantedBug* find_planted_bug(std::string_view name);

/// The ports as a process with the bug sees them. They borrow their arguments.
std::unique_ptr<Database> with_bug(const PlantedBug& bug, Database& database);
std::unique_ptr<Broker> with_bug(const PlantedBug& bug, Broker& broker, Database& database);

}  // namespace instep::simulation
