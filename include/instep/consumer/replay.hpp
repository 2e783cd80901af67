// A subscription handles past events again.
//
// Somebody asks for it in the consumer's database; whoever holds a partition takes the subscription
// back there, between two batches, and goes on from that place as always. So each key keeps its
// order, also between past and new events, and a crash at any point goes on where it was. Each
// event of the past takes effect once in each replay. What happened in between waits meanwhile.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/broker/broker.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// Where a replay begins. It ends where the subscription stands when it is taken up.
class ReplayStart {
public:
    /// With all that the broker still keeps.
    static ReplayStart beginning() { return {"beginning", 0}; }

    /// With the event behind the position, in one partition.
    static ReplayStart behind(Position position) {
        return {"position", static_cast<std::int64_t>(position)};
    }

    /// With what was appended at this time or later.
    static ReplayStart since(Timestamp time) { return {"time", time.time_since_epoch().count()}; }

    /// As kind() and at() have it. Errors: kCorrupt for another kind.
    static Result<ReplayStart> read(std::string_view kind, std::int64_t at);

    /// "beginning", "position" or "time", and the position, or the time in microseconds.
    [[nodiscard]] std::string_view kind() const { return kind_; }
    [[nodiscard]] std::int64_t at() const { return at_; }

    /// False for an event that stands before where the replay begins, or was appended before the
    /// time at which it does.
    [[nodiscard]] bool reaches(const Delivery& delivery) const;

    /// The position behind which a partition is read again. Errors: kNotFound if some of what is
    /// wanted is no longer kept, telling what is.
    [[nodiscard]] Result<Position> find_in(const KeptEvents& kept, std::string_view topic) const;

private:
    ReplayStart(std::string_view kind, std::int64_t at) : kind_(kind), at_(at) {}

    std::string_view kind_;
    std::int64_t at_;
};

/// What somebody wants.
struct ReplayRequest {
    /// As the broker knows it: "mail.welcome".
    std::string subscription;

    /// Of the subscription's topic.
    std::vector<std::uint32_t> partitions;
    ReplayStart start = ReplayStart::beginning();

    /// Only events of this key; empty for all. Others of the past are passed over.
    std::string key;

    /// Who asks and why, for the record.
    std::string who;
    std::string reason;
};

/// What has become of it in one partition.
struct ReplayStatus {
    std::uint64_t number = 0;
    std::string subscription;
    std::uint32_t partition = 0;

    /// "beginning", "position" or "time".
    std::string start;
    std::string key;
    std::string who;
    Timestamp asked{};

    /// "asked", "running", "done", or "refused", with `problem` telling why.
    std::string state;

    /// How far it has got, and where it ends; 0 before it runs.
    Position reached = 0;
    Position until = 0;
    Timestamp moved{};
    std::string problem;
};

/// Asks for a replay, which the subscription's consumers take up when they next look, or when they
/// next run. They refuse it, and go on as if it had not been asked for: if a key that it concerns
/// is parked, for its events would then be handled out of order; if the broker does not keep past
/// events, or no longer those that are asked for.
///
/// Errors: kInvalidArgument without partitions, or for a position with several; kConflict if a
/// replay of the subscription is not over, or a key that it concerns is parked; those of
/// Connection.
Result<void> ask_for_replay(Transaction& transaction, const ReplayRequest& request);

/// The newest first, at most `count`; of all subscriptions if it is empty. Errors: those of
/// Connection.
Result<std::vector<ReplayStatus>> list_replays(Connection& connection,
                                               std::string_view subscription, std::uint32_t count);

/// Forgets replays that were over before `before`, at most `rows_max`. Returns how many.
Result<std::uint64_t> trim_replays(Transaction& transaction, Timestamp before,
                                   std::uint32_t rows_max);

}  // namespace instep
