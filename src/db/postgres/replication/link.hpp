// One connection in replication mode over libpq, whose every wait has an end.
#pragma once

#include "failure.hpp"
#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"

#include <libpq-fe.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace instep::replication {

inline constexpr std::chrono::milliseconds kPatienceMax{3'600'000};

/// The rows that a command returned.
class Rows {
public:
    explicit Rows(PGresult* result) : result_(result) {}

    [[nodiscard]] ExecStatusType status() const { return PQresultStatus(result_.get()); }
    [[nodiscard]] const PGresult* handle() const { return result_.get(); }
    [[nodiscard]] int count() const { return PQntuples(result_.get()); }

    /// Nothing for NULL.
    [[nodiscard]] std::optional<std::string> at(int row, int column) const {
        if (PQgetisnull(result_.get(), row, column) != 0) {
            return std::nullopt;
        }
        return std::string(PQgetvalue(result_.get(), row, column));
    }
    [[nodiscard]] std::string text(int row, int column) const {
        return at(row, column).value_or("");
    }

private:
    struct Clear {
        void operator()(PGresult* result) const noexcept { PQclear(result); }
    };
    std::unique_ptr<PGresult, Clear> result_;
};

/// What waiting for the socket ended with.
enum class Waited : std::uint8_t { kReady, kElapsed };

/// What one look at the stream brought.
enum class Arrival : std::uint8_t { kBytes, kNothing };

class Link {
public:
    /// Connects and makes the session's text forms independent of the server's settings.
    /// Errors: as ReplicationConnection::open().
    static Result<std::unique_ptr<Link>> connect(std::string_view url, const Clock& clock,
                                                 std::chrono::milliseconds patience);

    /// Runs one command to its end, or, for START_REPLICATION, to the beginning of its stream.
    /// One that takes longer than the patience is cancelled. `what` begins the error's message.
    Result<Rows> execute(const std::string& command, std::string_view what);

    /// The next bytes of the stream, if they are here. Valid until the next call.
    Result<Arrival> receive(std::string_view& bytes);
    Result<void> send(std::string_view bytes);

    /// Waits until the server has sent something.
    Result<Waited> wait(std::chrono::microseconds deadline);

    /// `text` as a string literal.
    [[nodiscard]] Result<std::string> quote(std::string_view text) const;

    /// The server's version, such as 150020.
    [[nodiscard]] int version() const { return PQserverVersion(connection_.get()); }

    /// The server and the database, for messages.
    [[nodiscard]] const std::string& display() const { return display_; }

    [[nodiscard]] std::unexpected<Error> failure(std::string_view what, const Reason& reason) const;

private:
    struct Finish {
        void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
    };
    struct Free {
        void operator()(char* memory) const noexcept { PQfreemem(memory); }
    };

    Link(const Clock& clock, std::chrono::milliseconds patience)
        : clock_(&clock), patience_(patience) {}
    Result<void> open(const std::string& url);
    Result<void> poll_until_open(std::chrono::microseconds deadline);
    Result<void> settle();
    Result<Waited> wait_for(short events, std::chrono::microseconds deadline);
    Result<Rows> take_results(std::string_view what);
    Result<Waited> wait_for_result();
    Result<Rows> cancel(std::string_view what);
    std::unexpected<Error> stream_end();

    const Clock* clock_;
    std::chrono::milliseconds patience_;
    std::unique_ptr<PGconn, Finish> connection_;
    std::string display_;
    std::unique_ptr<char, Free> bytes_;
};

}  // namespace instep::replication
