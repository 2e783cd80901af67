#include "failure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace instep::replication {

namespace {

struct Meaning {
    std::string_view state;
    ErrorCode code;
    std::string_view advice;
};

constexpr std::string_view kWait = "; retry later";

// https://www.postgresql.org/docs/current/errcodes-appendix.html; a state of two characters
// stands for its whole class.
constexpr std::array kMeanings{
    Meaning{"28", ErrorCode::kPermissionDenied,
            "; check the user, the password and pg_hba.conf, which must let this user in"},
    Meaning{"42501", ErrorCode::kPermissionDenied,
            "; the user needs the REPLICATION attribute: ALTER ROLE … REPLICATION"},
    Meaning{"3D000", ErrorCode::kNotFound, "; check the database's name"},
    Meaning{"42704", ErrorCode::kNotFound,
            "; a slot only sees the publications that existed at its position: create them first, "
            "then the slot"},
    Meaning{"42710", ErrorCode::kConflict, "; use it, or drop it first"},
    Meaning{"42602", ErrorCode::kInvalidArgument, ""},
    Meaning{"22", ErrorCode::kInvalidArgument, ""},
    Meaning{"55006", ErrorCode::kBusy, "; stop the other reader, or retry when it has ended"},
    Meaning{"55000", ErrorCode::kConflict, "; look at the slot again"},
    Meaning{"53400", ErrorCode::kLimitExceeded,
            "; drop a slot or raise max_replication_slots, then restart the server"},
    Meaning{"53100", ErrorCode::kStorageFull, "; free space on the server"},
    Meaning{"53", ErrorCode::kUnavailable, "; raise max_wal_senders or retry later"},
    Meaning{"58P01", ErrorCode::kLimitExceeded,
            "; drop the slot, create it again and fill the copies anew"},
    Meaning{"57014", ErrorCode::kTimeout, ""},
    Meaning{"57", ErrorCode::kUnavailable, kWait},
    Meaning{"08P01", ErrorCode::kCorrupt, ""},
    Meaning{"08", ErrorCode::kUnavailable, kWait},
    Meaning{"0A000", ErrorCode::kUnsupported, ""},
    Meaning{"42", ErrorCode::kUnsupported, ""},
    Meaning{"XX", ErrorCode::kCorrupt, "; look at the server's log"},
};

constexpr Meaning kUnknown{"", ErrorCode::kUnavailable, kWait};

const Meaning& meaning_of(std::string_view state) {
    const auto* found = std::ranges::find_if(
        kMeanings, [&](const Meaning& meaning) { return state.starts_with(meaning.state); });
    return found == kMeanings.end() ? kUnknown : *found;
}

/// Every SQLSTATE has a digit, which "FATAL" has not.
bool is_state(std::string_view text) {
    constexpr std::string_view kCharacters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return text.size() == 5 && text.find_first_not_of(kCharacters) == std::string_view::npos &&
           text.find_first_of(kCharacters.substr(0, 10)) != std::string_view::npos;
}

/// Without the source position that a verbose message ends with, in one line.
std::string one_line(std::string_view message) {
    message = message.substr(0, message.find("\nLOCATION:"));
    std::string line;
    for (const char c : message) {
        const bool blank = c == '\n' || c == '\t' || c == '\r' || c == ' ';
        if (!blank) {
            line += c;
        } else if (!line.empty() && line.back() != ' ') {
            line += ' ';
        }
    }
    while (line.ends_with(' ')) {
        line.pop_back();
    }
    return line;
}

}  // namespace

Reason reason_of(const PGresult* result) {
    const auto field = [&](int code) -> std::string_view {
        const char* text = PQresultErrorField(result, code);
        return text == nullptr ? "" : text;
    };
    Reason reason{std::string(field(PG_DIAG_SQLSTATE)), one_line(field(PG_DIAG_MESSAGE_PRIMARY))};
    if (const auto detail = field(PG_DIAG_MESSAGE_DETAIL); !detail.empty()) {
        reason.text += fmt::format(" ({})", one_line(detail));
    }
    if (reason.text.empty()) {
        reason.text = one_line(PQresultErrorMessage(result));
    }
    return reason;
}

Reason reason_of(const PGconn* connection) {
    const std::string_view message = PQerrorMessage(connection);
    Reason reason{{}, one_line(message)};
    // "connection to … failed: FATAL:  28P01: password authentication failed": libpq gives the
    // SQLSTATE of a refused connection nowhere else.
    constexpr std::size_t kWidth = 5;
    for (std::size_t at = reason.text.find(": "); at != std::string::npos;
         at = reason.text.find(": ", at + 1)) {
        const std::size_t start = at + 2;
        const std::string state = reason.text.substr(start, kWidth);
        if (is_state(state) && reason.text.compare(start + kWidth, 2, ": ") == 0) {
            reason.state = state;
            reason.text.erase(start, kWidth + 2);
            break;
        }
    }
    return reason;
}

ErrorCode code_of(std::string_view state) { return meaning_of(state).code; }

std::string_view advice_for(std::string_view state) { return meaning_of(state).advice; }

}  // namespace instep::replication
