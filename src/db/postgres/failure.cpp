#include "failure.hpp"

#include <fmt/format.h>

#include <array>
#include <string>

namespace instep::postgres {

namespace {

constexpr std::size_t kSqlShownMax = 200;

/// What an SQLSTATE, or all that begin like it, is to our callers and what they can do.
struct Meaning {
    std::string_view state;
    ErrorCode code;
    std::string_view advice;
};

/// The first that fits counts.
constexpr std::array kMeanings = {
    Meaning{"08", ErrorCode::kUnavailable, "; it is tried again"},
    Meaning{"0A", ErrorCode::kUnsupported, ""},
    Meaning{"21", ErrorCode::kRejected, ""},
    Meaning{"22", ErrorCode::kRejected, ""},
    Meaning{"23", ErrorCode::kRejected, ""},
    Meaning{"25006", ErrorCode::kInvalidArgument, ""},
    Meaning{"25P02", ErrorCode::kClosed, "; begin it again"},
    Meaning{"25P03", ErrorCode::kUnavailable, "; raise idle_in_transaction_session_timeout"},
    Meaning{"28", ErrorCode::kPermissionDenied, "; check user, password and pg_hba.conf"},
    Meaning{"3D000", ErrorCode::kNotFound, "; create it, or correct the URL"},
    Meaning{"3F000", ErrorCode::kNotFound, ""},
    Meaning{"40", ErrorCode::kBusy, "; another transaction was in the way, retry"},
    Meaning{"42501", ErrorCode::kPermissionDenied, "; grant the right to this user"},
    Meaning{"42P01", ErrorCode::kNotFound, ""},
    Meaning{"42", ErrorCode::kInvalidArgument, ""},
    Meaning{"53100", ErrorCode::kStorageFull, "; free space, then retry"},
    Meaning{"53300", ErrorCode::kUnavailable, "; raise max_connections or close some"},
    Meaning{"53", ErrorCode::kUnavailable, "; the server is short of resources"},
    Meaning{"54", ErrorCode::kLimitExceeded, ""},
    Meaning{"55P03", ErrorCode::kBusy, "; another transaction holds the lock, retry later"},
    Meaning{"55006", ErrorCode::kBusy, ""},
    Meaning{"57014", ErrorCode::kTimeout, ""},
    Meaning{"57P", ErrorCode::kUnavailable, "; it is tried again"},
    Meaning{"58", ErrorCode::kUnavailable, "; look at the server's log and disk"},
    // instep.require_lease()
    Meaning{"INS01", ErrorCode::kFenced, ""},
    Meaning{"P0", ErrorCode::kRejected, ""},
    Meaning{"XX", ErrorCode::kCorrupt, "; look at the server's log"},
};

constexpr Meaning kUnknown{"", ErrorCode::kInvalidArgument, ""};

const Meaning& meaning_of(std::string_view state) {
    for (const Meaning& meaning : kMeanings) {
        if (state.starts_with(meaning.state)) {
            return meaning;
        }
    }
    return kUnknown;
}

std::string_view field(const PGresult* result, int code) {
    const char* text = PQresultErrorField(result, code);
    return text == nullptr ? std::string_view() : std::string_view(text);
}

/// libpq's messages end with a line break and may hold several.
std::string one_line(std::string_view message) {
    std::string line;
    for (const char c : message) {
        line += c == '\n' || c == '\t' ? ' ' : c;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
}

std::string sql_shown(std::string_view sql) {
    if (sql.empty()) {
        return {};
    }
    return fmt::format(" (in \"{}\"{})", sql.substr(0, kSqlShownMax),
                       sql.size() > kSqlShownMax ? "…" : "");
}

}  // namespace

std::unexpected<Error> failure(const PGconn* connection, const PGresult* result,
                               std::string_view display_url, std::string_view sql) {
    const std::string_view state = field(result, PG_DIAG_SQLSTATE);
    if (state.empty() || PQstatus(connection) == CONNECTION_BAD) {
        const std::string reason = one_line(state.empty() ? PQerrorMessage(connection)
                                                          : field(result, PG_DIAG_MESSAGE_PRIMARY));
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{}: the connection was lost: {}", display_url, reason));
    }
    const Meaning& meaning = meaning_of(state);
    const std::string_view detail = field(result, PG_DIAG_MESSAGE_DETAIL);
    const ErrorCode code = is_outdated_plan(result) ? ErrorCode::kBusy : meaning.code;
    return fail(
        code,
        fmt::format("{}: {}{}{}{}{}", display_url, one_line(field(result, PG_DIAG_MESSAGE_PRIMARY)),
                    detail.empty() ? "" : ": ", one_line(detail), meaning.advice, sql_shown(sql)));
}

std::unexpected<Error> connect_failure(const PGconn* connection, std::string_view display_url) {
    // libpq keeps no SQLSTATE of a refused connection, only the server's words.
    const std::string reason = one_line(PQerrorMessage(connection));
    const auto says = [&](std::string_view words) { return reason.contains(words); };
    if (says("database \"") && says("does not exist")) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("{}: {}; create it, or correct the URL", display_url, reason));
    }
    if (says("authentication failed") || says("no password supplied") || says("pg_hba.conf") ||
        says("role \"") || says("permission denied")) {
        return fail(
            ErrorCode::kPermissionDenied,
            fmt::format("{}: {}; check user, password and pg_hba.conf", display_url, reason));
    }
    return fail(ErrorCode::kUnavailable,
                fmt::format("{} cannot be reached: {}", display_url, reason));
}

bool is_outdated_plan(const PGresult* result) {
    return field(result, PG_DIAG_SQLSTATE) == "0A000" &&
           field(result, PG_DIAG_MESSAGE_PRIMARY).starts_with("cached plan");
}

}  // namespace instep::postgres
