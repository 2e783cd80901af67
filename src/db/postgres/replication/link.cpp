#include "link.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <utility>

namespace instep::replication {

namespace {

using std::chrono::microseconds;

constexpr int kVersionMin = 130'000;

struct FreeOptions {
    void operator()(PQconninfoOption* options) const noexcept { PQconninfoFree(options); }
};

/// Never quotes the connection string: wherever it is malformed, it may be the password.
std::unexpected<Error> unreadable_url(std::string_view why) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the PostgreSQL connection string {}; write "
                            "postgresql://user:password@host:port/database, with %2F for / and "
                            "%40 for @ in the password",
                            why));
}

/// The server and the database that a connection string names, without user and password.
Result<std::string> display_of(const std::string& url) {
    char* message = nullptr;
    const std::unique_ptr<PQconninfoOption, FreeOptions> options(
        PQconninfoParse(url.c_str(), &message));
    PQfreemem(message);
    if (!options) {
        return unreadable_url("cannot be read");
    }
    std::string host;
    std::string port;
    std::string database;
    for (const auto* option = options.get(); option->keyword != nullptr; ++option) {
        const std::string_view key = option->keyword;
        const std::string value = option->val == nullptr ? "" : option->val;
        if (key == "host") {
            host = value;
        } else if (key == "port") {
            port = value;
        } else if (key == "dbname") {
            database = value;
        }
    }
    if (port.find_first_not_of("0123456789,") != std::string::npos) {
        return unreadable_url("has a port that is no number");
    }
    if (host.find('@') != std::string::npos || database.find('@') != std::string::npos) {
        return unreadable_url("has more than one @");
    }
    return fmt::format("postgresql://{}{}{}/{}", host, port.empty() ? "" : ":", port, database);
}

}  // namespace

Result<std::unique_ptr<Link>> Link::connect(std::string_view url, const Clock& clock,
                                            std::chrono::milliseconds patience) {
    if (patience < std::chrono::milliseconds{1} || patience > kPatienceMax) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("the patience with a server must be 1 to {} ms, not {}",
                                kPatienceMax.count(), patience.count()));
    }
    if (url.find('\0') != std::string_view::npos) {
        return unreadable_url("holds a zero byte");
    }
    std::unique_ptr<Link> link(new Link(clock, patience));
    INSTEP_TRY(link->open(std::string(url)));
    INSTEP_TRY(link->settle());
    return link;
}

Result<void> Link::open(const std::string& url) {
    INSTEP_TRY_ASSIGN(display_, display_of(url));
    // What stands behind the connection string in dbname overrides it.
    const std::array keywords{"fallback_application_name", "dbname", "replication",
                              "client_encoding", static_cast<const char*>(nullptr)};
    const std::array values{"instep", url.c_str(), "database", "UTF8",
                            static_cast<const char*>(nullptr)};
    const microseconds deadline = clock_->monotonic() + patience_;
    connection_.reset(PQconnectStartParams(keywords.data(), values.data(), 1));
    if (!connection_) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{}: there is no memory for a connection", display_));
    }
    PQsetErrorVerbosity(connection_.get(), PQERRORS_VERBOSE);
    PQsetNoticeProcessor(connection_.get(), [](void*, const char*) {}, nullptr);
    INSTEP_TRY(poll_until_open(deadline));
    if (version() < kVersionMin) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("{}: PostgreSQL {} is too old; version 13 is needed", display_,
                                version() / 10'000));
    }
    return {};
}

Result<void> Link::poll_until_open(microseconds deadline) {
    PostgresPollingStatusType polled = PGRES_POLLING_WRITING;
    while (polled != PGRES_POLLING_OK) {
        if (polled == PGRES_POLLING_FAILED || PQstatus(connection_.get()) == CONNECTION_BAD) {
            return failure("connecting", reason_of(connection_.get()));
        }
        const short events = polled == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        INSTEP_TRY_ASSIGN(const Waited waited, wait_for(events, deadline));
        if (waited == Waited::kElapsed) {
            return fail(ErrorCode::kTimeout,
                        fmt::format("{}: no connection within {} ms; check the host and the "
                                    "network",
                                    display_, patience_.count()));
        }
        polled = PQconnectPoll(connection_.get());
    }
    return {};
}

Result<void> Link::settle() {
    // The decoder writes values with the session's settings; reg* types with its search path.
    // The timeouts would end a wait for old transactions, or an exported snapshot.
    constexpr std::array kSettings{
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "SET datestyle = 'ISO, YMD'",
        "SET intervalstyle = 'postgres'",
        "SET timezone = 'UTC'",
        "SET bytea_output = 'hex'",
        "SET extra_float_digits = 3",
        "SET statement_timeout = 0",
        "SET lock_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0",
    };
    for (const char* setting : kSettings) {
        INSTEP_TRY(execute(setting, "preparing the session"));
    }
    return {};
}

Result<Waited> Link::wait_for(short events, microseconds deadline) {
    pollfd socket{PQsocket(connection_.get()), events, 0};
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(
            std::max(deadline - clock_->monotonic(), microseconds{0}));
        const int ready = poll(&socket, 1, static_cast<int>(std::min(left, kPatienceMax).count()));
        if (ready > 0) {
            return Waited::kReady;
        }
        // Not by the clock, which may be one that stands still.
        if (ready == 0) {
            return Waited::kElapsed;
        }
        if (errno != EINTR) {
            return fail(ErrorCode::kUnavailable,
                        fmt::format("{}: waiting for the server failed: {}", display_,
                                    std::strerror(errno)));
        }
    }
}

Result<Waited> Link::wait(microseconds deadline) { return wait_for(POLLIN, deadline); }

Result<Waited> Link::wait_for_result() {
    const microseconds deadline = clock_->monotonic() + patience_;
    while (PQisBusy(connection_.get()) != 0) {
        INSTEP_TRY_ASSIGN(const Waited waited, wait_for(POLLIN, deadline));
        if (waited == Waited::kElapsed) {
            return waited;
        }
        if (PQconsumeInput(connection_.get()) == 0) {
            break;  // What the server said before it went is a result like any other.
        }
    }
    return Waited::kReady;
}

Result<Rows> Link::execute(const std::string& command, std::string_view what) {
    if (PQsendQuery(connection_.get(), command.c_str()) == 0) {
        return failure(what, reason_of(connection_.get()));
    }
    INSTEP_TRY_ASSIGN(const Waited waited, wait_for_result());
    return waited == Waited::kReady ? take_results(what) : cancel(what);
}

Result<Rows> Link::cancel(std::string_view what) {
    std::array<char, 256> ignored{};
    PGcancel* request = PQgetCancel(connection_.get());
    PQcancel(request, ignored.data(), static_cast<int>(ignored.size()));
    PQfreeCancel(request);
    INSTEP_TRY_ASSIGN(const Waited waited, wait_for_result());
    if (waited == Waited::kElapsed) {
        return fail(ErrorCode::kTimeout,
                    fmt::format("{}: {} was not done within {} ms and could not be cancelled; it "
                                "may still happen",
                                display_, what, patience_.count()));
    }
    // The command may have come to its end before the request did.
    auto rows = take_results(what);
    if (!rows && rows.error().code == ErrorCode::kTimeout) {
        return fail(ErrorCode::kTimeout,
                    fmt::format("{}: {} was not done within {} ms and was cancelled; retry, or "
                                "wait longer",
                                display_, what, patience_.count()));
    }
    return rows;
}

Result<Rows> Link::take_results(std::string_view what) {
    Rows rows(PQgetResult(connection_.get()));
    if (rows.handle() == nullptr) {
        return failure(what, reason_of(connection_.get()));
    }
    if (rows.status() == PGRES_COPY_BOTH) {
        return rows;
    }
    for (bool more = true; more;) {
        INSTEP_TRY_ASSIGN(const Waited waited, wait_for_result());
        if (waited == Waited::kElapsed) {
            return fail(ErrorCode::kTimeout,
                        fmt::format("{}: {} did not come to its end within {} ms", display_, what,
                                    patience_.count()));
        }
        more = Rows(PQgetResult(connection_.get())).handle() != nullptr;
    }
    if (rows.status() == PGRES_TUPLES_OK || rows.status() == PGRES_COMMAND_OK) {
        return rows;
    }
    return failure(what, reason_of(rows.handle()));
}

Result<Arrival> Link::receive(std::string_view& bytes) {
    // TLS may hold one record that the socket no longer shows: two reads take all of it.
    int hidden_reads = PQsslInUse(connection_.get()) != 0 ? 2 : 0;
    bool is_open = true;
    bytes_.reset();
    for (;;) {
        char* raw = nullptr;
        const int size = PQgetCopyData(connection_.get(), &raw, 1);
        if (size > 0) {
            bytes_.reset(raw);
            bytes = std::string_view(raw, static_cast<std::size_t>(size));
            return Arrival::kBytes;
        }
        if (size < 0 || !is_open) {
            return stream_end();
        }
        INSTEP_TRY_ASSIGN(const Waited waited, wait_for(POLLIN, microseconds{0}));
        if (waited == Waited::kElapsed && hidden_reads-- == 0) {
            return Arrival::kNothing;
        }
        // What came before the connection was lost is read to its end.
        is_open = PQconsumeInput(connection_.get()) != 0;
    }
}

std::unexpected<Error> Link::stream_end() {
    const Reason of_connection = reason_of(connection_.get());
    const Rows rows(PQgetResult(connection_.get()));
    if (rows.handle() != nullptr && rows.status() == PGRES_FATAL_ERROR) {
        return failure("streaming", reason_of(rows.handle()));
    }
    if (!of_connection.text.empty()) {
        return failure("streaming", of_connection);
    }
    return fail(ErrorCode::kUnavailable,
                fmt::format("{}: the server ended the stream, as it does when it shuts down; start "
                            "again later",
                            display_));
}

Result<void> Link::send(std::string_view bytes) {
    if (PQputCopyData(connection_.get(), bytes.data(), static_cast<int>(bytes.size())) != 1 ||
        PQflush(connection_.get()) != 0) {
        return failure("reporting the position", reason_of(connection_.get()));
    }
    return {};
}

Result<std::string> Link::quote(std::string_view text) const {
    const std::unique_ptr<char, Free> quoted(
        PQescapeLiteral(connection_.get(), text.data(), text.size()));
    if (!quoted) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: a name is not UTF-8: {}", display_,
                                reason_of(connection_.get()).text));
    }
    return std::string(quoted.get());
}

std::unexpected<Error> Link::failure(std::string_view what, const Reason& reason) const {
    return fail(code_of(reason.state), fmt::format("{}: {} failed: {}{}", display_, what,
                                                   reason.text, advice_for(reason.state)));
}

}  // namespace instep::replication
