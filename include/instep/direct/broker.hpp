// A broker without a broker: subscriptions read the logs of the services that own their topics.
//
// The log is what a broker would keep: durable, in commit order, kept until everybody has passed.
// So an event is published when it is appended. Each subscription has a cursor of its own in the
// owner's database and moves it when it acknowledges, and one that stands still holds up no other.
// It has to reach the owner's database, and so does whoever publishes to another service's topic:
// such an event is appended to that service's log.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"
#include "instep/db/database.hpp"
#include "instep/log/reader.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

class Logger;

/// What the cursors of subscriptions are called in an owner's log begins so.
inline constexpr std::string_view kDirectReaderPrefix = "direct/";

/// A service whose topics are read, or published to, in its own database.
struct DirectOwner {
    /// What its topics' names begin with, before the first dot.
    std::string service;
    std::unique_ptr<Database> database;

    /// Its topics, which are told of a new epoch.
    std::vector<std::string> topics;

    /// Makes what adds chunks to the events that a subscription reads, and only its own; empty for
    /// none.
    std::function<std::unique_ptr<ChunkSource>(std::string_view subscription)> make_chunks{};
};

struct DirectOptions {
    /// Whose relay publishes here. What it publishes to its own topics is in its log already.
    std::string service;

    /// Every service whose topics are used, this one among them.
    std::vector<DirectOwner> owners;

    /// What a subscription of this service has last dealt with, from its own database: the
    /// evidence against a log that was restored from a copy. Empty: there is none.
    std::function<Result<std::optional<LastPublished>>(std::string_view subscription)> last_taken{};

    /// Longest pause between two looks at an owner's database while nothing happens, 1 ms to
    /// 10 s. A larger one costs less, and the first event after a silence waits that long.
    std::chrono::milliseconds idle_poll_max{100};
};

/// Topics have one partition. A subscription is found by its name and its topic; its owner must
/// have its tables. Two members of one take turns: one reads, and the other stands by until the
/// first leaves or is silent for its time-out.
///
/// receive() gives out what one look at the log found, and looks again when all of that is
/// acknowledged. seek() goes to what was acknowledged and nowhere else (kUnsupported); rewind()
/// goes to what the log still has, on SQLite only (log/rewind.hpp). The
/// position of what is newest, in lag(), is the lowest that it can have. trim() does nothing, for
/// the log has a retention of its own. An event that was published to another service's topic has
/// that service as its source, and none of the attributes that the library does not know.
///
/// `clock` and `logger` must outlive the broker. Errors: kInvalidArgument for an option out of
/// bounds. Of calls that name a topic: kNotFound if its owner is not among `owners`;
/// kSchemaMismatch if the owner has no tables yet; those of Connection.
Result<std::unique_ptr<Broker>> open_direct_broker(DirectOptions options, const Clock& clock,
                                                   Logger& logger);

}  // namespace instep
