// A broker without a server: one SQLite file that several processes share.
//
// A published event is in the file, through a power failure, before publish() returns;
// acknowledgements are written more lazily, so a power failure may bring back events that
// were acknowledged just before it. Partitions are handed between members by leases in the
// same file.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"
#include "instep/db/database.hpp"

#include <chrono>
#include <cstdint>
#include <memory>

namespace instep {

/// Most partitions that a topic may have; declare_topic() refuses more with
/// kInvalidArgument.
inline constexpr std::uint32_t kEmbeddedPartitionsMax = 4096;

struct EmbeddedOptions {
    /// How long a call waits for another process that writes to the file before it fails
    /// with kBusy, 0 to 60 s.
    std::chrono::milliseconds lock_patience{5000};

    /// Longest pause between two looks at the file while nothing happens, 1 ms to 10 s. A
    /// larger one costs less CPU and lets events of other processes wait that long; those of
    /// the same Broker wake its subscribers at once.
    std::chrono::milliseconds idle_poll_max{100};
};

/// Opens the broker and brings its tables to the newest step. The file must be the broker's
/// own, not a service's database. `database` and `clock` must outlive the broker.
///
/// A subscription to a topic that does not exist yet starts at the topic's beginning, also
/// with StartAt::kLatest: everything in it will be later than the subscription. seek() lasts
/// as long as the member holds the partition; the next holder starts behind what was
/// acknowledged. A new member with the name of an earlier one takes its place at once.
///
/// Errors: kInvalidArgument for an option out of bounds; those of Database::connect() and
/// migrate().
Result<std::unique_ptr<Broker>> open_embedded_broker(Database& database, const Clock& clock,
                                                     EmbeddedOptions options = {});

}  // namespace instep
