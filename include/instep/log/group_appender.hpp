// Appends for callers that have no transaction of their own: what many threads append at
// about the same time goes into one transaction, and each call returns when it is durable.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/database.hpp"
#include "instep/log/log.hpp"

#include <cstdint>
#include <memory>
#include <span>

namespace instep {

struct GroupAppenderOptions {
    /// Calls that may wait at once, 1 to 100,000. Beyond it append() waits for room.
    std::uint32_t waiting_max = 4096;

    /// Events in one transaction, 1 to 10,000. Larger: fewer commits, longer waits for other
    /// writers of the database.
    std::uint32_t group_events_max = 1000;
};

/// Safe to call from any thread. Owns one thread and one connection.
class GroupAppender {
public:
    /// `database` must outlive the appender. Errors: kInvalidArgument; those of
    /// Database::connect().
    static Result<std::unique_ptr<GroupAppender>> open(Database& database,
                                                       GroupAppenderOptions options = {});
    GroupAppender(const GroupAppender&) = delete;
    GroupAppender& operator=(const GroupAppender&) = delete;

    /// Finishes the calls that wait.
    ~GroupAppender();

    /// Appends the events together and returns when they are durable. A call that fails
    /// does not affect the others of its group. Errors: as instep::append().
    Result<std::vector<Appended>> append(std::span<const NewEvent> events,
                                         ExpectedVersion expected = ExpectedVersion::any());

private:
    class Impl;
    explicit GroupAppender(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace instep
