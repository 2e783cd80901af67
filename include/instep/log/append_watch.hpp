// Sleeps until something is appended to a log, where its database can tell.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"

#include <chrono>
#include <cstdint>
#include <stop_token>

namespace instep {

/// For whoever reads a log on one connection, between its looks; for one thread at a time. On
/// PostgreSQL, on a session of its own, transactions that append tell a reader that sleeps, and
/// nobody else (docs/adr/0022); elsewhere the time passes. One reader of a log at a time is told
/// for sure; others are told while that one sleeps.
class AppendWatch {
public:
    /// Lets the time pass until something may have been appended, at most `patience`. Returns true
    /// if the log is to be looked at without asking first: somebody was told, or will be from
    /// now on. While appends are sure to tell, it may wait for 100 ms where `patience` is shorter.
    /// Errors are for the next statement on the connection to report.
    bool wait(Connection& connection, const std::stop_token& stop,
              std::chrono::milliseconds patience);

    /// The reader has much to do: appends tell nobody until the next wait().
    Result<void> stay_awake(Connection& connection);

    /// After an error: the session may be another one, which nobody tells anything.
    void forget() { state_ = State::kUnknown; }

private:
    enum class State : std::uint8_t {
        kUnknown,  ///< Whether this session can be told.
        kUntold,   ///< It cannot.
        kAwake,    ///< It listens; appends do not tell.
        kSleepy,   ///< Appends tell.
    };

    Result<bool> await(Connection& connection, const std::stop_token& stop,
                       std::chrono::milliseconds patience);
    Result<bool> fall_asleep(Connection& connection);
    static Result<State> listen(Connection& connection);

    State state_ = State::kUnknown;
};

}  // namespace instep
