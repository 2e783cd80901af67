#include "instep/log/append_watch.hpp"

#include "instep/concurrency/wake_up.hpp"
#include "instep/db/dialect.hpp"

#include <algorithm>
#include <string_view>

namespace instep {

namespace {

using namespace std::chrono_literals;

/// What changes without an append, such as a scan that was asked for, is seen after so long.
constexpr std::chrono::milliseconds kToldPatience = 100ms;

Result<bool> ask(Connection& connection, std::string_view question) {
    INSTEP_TRY_ASSIGN(const auto row, connection.query(question, {}));
    INSTEP_TRY(row->next());
    return row->integer(0) != 0;
}

}  // namespace

bool AppendWatch::wait(Connection& connection, const std::stop_token& stop,
                       std::chrono::milliseconds patience) {
    if (const auto told = await(connection, stop, patience)) {
        return *told;
    }
    // The next statement on the connection says what is wrong.
    forget();
    WakeUp().wait(-1, stop, patience);
    return false;
}

Result<bool> AppendWatch::await(Connection& connection, const std::stop_token& stop,
                                std::chrono::milliseconds patience) {
    INSTEP_TRY_ASSIGN(const bool falls_asleep, fall_asleep(connection));
    if (falls_asleep) {
        return true;
    }
    if (state_ == State::kUntold) {
        WakeUp().wait(-1, stop, patience);
        return false;
    }
    return connection.await_notification(
        stop, state_ == State::kSleepy ? std::max(patience, kToldPatience) : patience);
}

/// Returns true if appends tell from now on, which they did not before.
Result<bool> AppendWatch::fall_asleep(Connection& connection) {
    if (state_ == State::kUnknown) {
        INSTEP_TRY_ASSIGN(state_, listen(connection));
    }
    if (state_ != State::kAwake) {
        return false;
    }
    INSTEP_TRY_ASSIGN(const bool may, ask(connection, "SELECT instep.may_sleep()::int"));
    if (may) {
        state_ = State::kSleepy;
    }
    return may;
}

Result<AppendWatch::State> AppendWatch::listen(Connection& connection) {
    if (connection.dialect().name() != "postgres") {
        return State::kUntold;
    }
    // A transaction that has told somebody cannot be prepared.
    INSTEP_TRY_ASSIGN(
        const bool may_tell,
        ask(connection, "SELECT (current_setting('max_prepared_transactions') = '0')::int"));
    if (!may_tell) {
        return State::kUntold;
    }
    if (const auto can = connection.await_notification({}, 0ms); !can) {
        return can.error().code == ErrorCode::kUnsupported ? Result<State>(State::kUntold)
                                                           : std::unexpected(can.error());
    }
    // It may be the session of before.
    INSTEP_TRY(connection.query("SELECT instep.wake_up()", {}));
    INSTEP_TRY(connection.execute("LISTEN instep_appends", {}));
    return State::kAwake;
}

Result<void> AppendWatch::stay_awake(Connection& connection) {
    if (state_ != State::kSleepy) {
        return {};
    }
    state_ = State::kAwake;
    INSTEP_TRY(connection.query("SELECT instep.wake_up()", {}));
    return {};
}

}  // namespace instep
