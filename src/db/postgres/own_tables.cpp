#include "own_tables.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace instep::postgres {

namespace {

constexpr std::string_view kPrefix = "instep_";

/// Sorted. Whoever adds a migration with a table adds its name here; a test compares them.
constexpr std::array<std::string_view, 25> kTables = {
    "broker_move",  "contract",   "cursor",       "dead_letter_action",
    "difference",   "event_id",   "halt",         "inbox",
    "lease",        "log",        "log_identity", "migration",
    "parked_event", "parked_key", "progress",     "replay",
    "replica",      "scan",       "scan_answer",  "stream",
    "subscription", "tombstone",  "trial",        "verification",
    "wal_cursor"};

bool is_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' ||
           static_cast<unsigned char>(c) >= 0x80U;
}

/// The end of the string or quoted name that begins at `at`, or of one character.
std::size_t end_of_piece(std::string_view sql, std::size_t at) {
    const char c = sql[at];
    if (c == '\'' || c == '"') {
        const std::size_t end = sql.find(c, at + 1);
        return end == std::string_view::npos ? sql.size() : end + 1;
    }
    if (c == '$' && at + 1 < sql.size() &&
        std::isdigit(static_cast<unsigned char>(sql[at + 1])) == 0) {
        const std::size_t tag_end = sql.find('$', at + 1);
        if (tag_end != std::string_view::npos) {
            const std::string_view tag = sql.substr(at, tag_end + 1 - at);
            const std::size_t end = sql.find(tag, tag_end + 1);
            return end == std::string_view::npos ? sql.size() : end + tag.size();
        }
    }
    return at + 1;
}

std::size_t end_of_word(std::string_view sql, std::size_t at) {
    while (at < sql.size() && is_word(sql[at])) {
        ++at;
    }
    return at;
}

}  // namespace

std::string with_own_schema(std::string_view sql) {
    std::string translated;
    translated.reserve(sql.size() + 16);
    for (std::size_t at = 0; at < sql.size();) {
        const bool word = is_word(sql[at]) && sql[at] != '$';
        const std::size_t end = word ? end_of_word(sql, at) : end_of_piece(sql, at);
        const std::string_view piece = sql.substr(at, end - at);
        if (word && piece.starts_with(kPrefix) &&
            std::ranges::binary_search(kTables, piece.substr(kPrefix.size()))) {
            translated += kOwnSchema;
            translated += '.';
            translated += piece.substr(kPrefix.size());
        } else {
            translated += piece;
        }
        at = end;
    }
    return translated;
}

}  // namespace instep::postgres
