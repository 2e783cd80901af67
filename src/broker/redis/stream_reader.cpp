#include "stream_reader.hpp"

#include "names.hpp"

#include <fmt/format.h>

#include <utility>

namespace instep::redis {

Result<void> StreamReader::ask(Question question) {
    INSTEP_TRY_ASSIGN(Connection * connection, link_.idle());
    question_ = std::move(question);
    const std::size_t streams = question_.sources.size() + 1;
    const bool waits = question_.patience.count() > 0;
    CommandWriter writer = connection->write();
    writer.begin(4 + 2 * streams + (waits ? 2 : 0));
    writer.argument("XREAD");
    writer.argument("COUNT");
    writer.argument(std::to_string(question_.entries_max));
    if (waits) {
        writer.argument("BLOCK");
        writer.argument(std::to_string(question_.patience.count()));
    }
    writer.argument("STREAMS");
    writer.argument(question_.changes);
    for (const Source& source : question_.sources) {
        writer.argument(source.stream);
    }
    writer.argument(question_.change);
    for (const Source& source : question_.sources) {
        writer.argument(to_entry_id(source.after));
    }
    INSTEP_TRY(connection->send());
    stage_ = Stage::kAsked;
    due_ = clock_.monotonic() + question_.patience + endpoint_.timeout;
    return {};
}

bool StreamReader::has_news() {
    return is_asking() && (question_.patience.count() == 0 || link_.current() == nullptr ||
                           link_.current()->has_bytes() || clock_.monotonic() > due_);
}

Result<bool> StreamReader::next(std::optional<Delivery>& entry) {
    auto found = read(entry);
    if (!found) {
        reset();
    } else if (!*found || (streams_left_ == 0 && entries_left_ == 0)) {
        stage_ = Stage::kIdle;
    }
    return found;
}

Result<bool> StreamReader::read(std::optional<Delivery>& entry) {
    if (stage_ == Stage::kAsked) {
        if (!link_.current()->has_bytes() && clock_.monotonic() > due_) {
            return fail(
                ErrorCode::kUnavailable,
                fmt::format("{}: the server did not answer in time", endpoint_.display_url));
        }
        INSTEP_TRY_ASSIGN(const bool has_entries, begin_answer());
        if (!has_entries) {
            return false;
        }
        stage_ = Stage::kReading;
    }
    while (true) {
        while (entries_left_ == 0) {
            if (streams_left_ == 0) {
                return false;
            }
            INSTEP_TRY(begin_stream());
        }
        INSTEP_TRY_ASSIGN(const bool is_event, read_entry(entry));
        if (is_event) {
            return true;
        }
    }
}

Result<bool> StreamReader::begin_answer() {
    INSTEP_TRY_ASSIGN(const Token token, link_.current()->next_token());
    switch (token.kind) {
        case Token::Kind::kNull:
            return false;
        case Token::Kind::kError:
            return std::unexpected(to_error(endpoint_, token.text));
        case Token::Kind::kMap:
        case Token::Kind::kArray:
            are_pairs_ = token.kind == Token::Kind::kArray;
            streams_left_ = token.number;
            entries_left_ = 0;
            return true;
        case Token::Kind::kText:
        case Token::Kind::kOversized:
        case Token::Kind::kInteger:
            break;
    }
    return unexpected();
}

Result<void> StreamReader::begin_stream() {
    Connection& connection = *link_.current();
    --streams_left_;
    if (are_pairs_) {
        INSTEP_TRY_ASSIGN(const Token pair, connection.next_token());
        if (pair.kind != Token::Kind::kArray || pair.number != 2) {
            return unexpected();
        }
    }
    INSTEP_TRY_ASSIGN(const Token name, connection.next_token());
    for (source_ = 0; source_ < question_.sources.size(); ++source_) {
        if (question_.sources[source_].stream == name.text) {
            break;
        }
    }
    if (source_ == question_.sources.size() && name.text != question_.changes) {
        return unexpected();
    }
    INSTEP_TRY_ASSIGN(const Token entries, connection.next_token());
    if (entries.kind != Token::Kind::kArray) {
        return unexpected();
    }
    entries_left_ = entries.number;
    return {};
}

/// False for an entry of the stream of changes.
Result<bool> StreamReader::read_entry(std::optional<Delivery>& entry) {
    Connection& connection = *link_.current();
    --entries_left_;
    INSTEP_TRY_ASSIGN(const Token pair, connection.next_token());
    if (pair.kind != Token::Kind::kArray || pair.number != 2) {
        return unexpected();
    }
    INSTEP_TRY_ASSIGN(const Token id, connection.next_token());
    const auto position = parse_entry_id(id.text);
    const bool is_change = source_ == question_.sources.size();
    if (!position && !is_change) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: stream {} has an entry with the id {}, which no server's "
                                "clock has made; delete it",
                                endpoint_.display_url, question_.sources[source_].stream, id.text));
    }
    INSTEP_TRY_ASSIGN(const Token fields, connection.next_token());
    if (fields.kind != Token::Kind::kArray || fields.number % 2 != 0) {
        return unexpected();
    }
    entry_.begin();
    for (std::int64_t i = 0; i < fields.number; i += 2) {
        INSTEP_TRY_ASSIGN(const Token name, connection.next_token());
        entry_.name(name);
        INSTEP_TRY_ASSIGN(const Token value, connection.next_token());
        entry_.value(value);
    }
    if (is_change) {
        saw_change_ = true;
        return false;
    }
    entry = entry_.finish(question_.sources[source_].partition, *position);
    return true;
}

std::unexpected<Error> StreamReader::unexpected() {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: the answer to XREAD is not what it should be",
                                                 endpoint_.display_url));
}

void StreamReader::reset() {
    if (is_asking()) {
        link_.drop();
    }
    stage_ = Stage::kIdle;
}

int StreamReader::descriptor() {
    return link_.current() == nullptr ? -1 : link_.current()->descriptor();
}

}  // namespace instep::redis
