#include "resp.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace instep::redis {

namespace {

constexpr std::string_view kEnd = "\r\n";
constexpr std::size_t kReadBytes = 64U * 1024;

/// A line that is no string's: a number, an error, a status.
constexpr std::size_t kLineBytesMax = 64U * 1024;

std::unexpected<Error> no_resp(std::string_view line) {
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("the server does not speak the protocol of Redis: it sent \"{}\"; check "
                    "host, port and whether TLS is on",
                    line.substr(0, 40)));
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
    std::int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

void CommandWriter::begin(std::size_t arguments) { count('*', arguments); }

void CommandWriter::argument(std::string_view text) {
    count('$', text.size());
    out_.append(text).append(kEnd);
}

void CommandWriter::count(char type, std::size_t number) {
    std::array<char, 24> line{type};
    char* const end = std::to_chars(line.data() + 1, line.data() + line.size(), number).ptr;
    out_.append(line.data(), end).append(kEnd);
}

void CommandWriter::command(std::initializer_list<std::string_view> arguments) {
    begin(arguments.size());
    for (const std::string_view text : arguments) {
        argument(text);
    }
}

std::span<char> RespInput::room() {
    if (begin_ == end_) {
        begin_ = end_ = 0;
    }
    const std::size_t wanted = std::max(kReadBytes, needed_ - std::min(needed_, end_ - begin_));
    if (buffer_.size() - end_ < wanted && begin_ > 0) {
        std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
                  buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
        end_ -= begin_;
        begin_ = 0;
    }
    if (buffer_.size() - end_ < wanted) {
        buffer_.resize(end_ + wanted);
    }
    return std::span(buffer_).subspan(end_);
}

Result<std::optional<Token>> RespInput::next() {
    if (to_skip_ > 0) {
        return skip();
    }
    const std::string_view bytes = unread();
    if (bytes.size() < needed_) {
        return std::nullopt;
    }
    const std::size_t line_end = bytes.find('\n');
    if (line_end == std::string_view::npos) {
        needed_ = bytes.size() + 1;
        return bytes.size() > kLineBytesMax ? Result<std::optional<Token>>(no_resp(bytes))
                                            : std::nullopt;
    }
    needed_ = 0;
    if (line_end < 2 || bytes[line_end - 1] != '\r') {
        return no_resp(bytes.substr(0, line_end));
    }
    const std::string_view line = bytes.substr(1, line_end - 2);
    const std::size_t header = line_end + 1;
    const auto number = parse_integer(line);
    Token token{.kind = Token::Kind::kText, .number = number.value_or(0), .text = line};
    switch (bytes[0]) {
        case '+':
        case ',':
        case '(':
            break;
        case '-':
            token.kind = Token::Kind::kError;
            break;
        case ':':
            token.kind = Token::Kind::kInteger;
            break;
        case '#':
            token.kind = Token::Kind::kInteger;
            token.number = line == "t" ? 1 : 0;
            break;
        case '_':
            token.kind = Token::Kind::kNull;
            break;
        case '*':
        case '~':
        case '>':
            token.kind = token.number < 0 ? Token::Kind::kNull : Token::Kind::kArray;
            break;
        case '%':
            token.kind = Token::Kind::kMap;
            break;
        case '$':
        case '=':
        case '!':
            return number ? next_text(bytes[0], header, *number) : no_resp(line);
        default:
            return no_resp(bytes.substr(0, line_end - 1));
    }
    const bool counts = token.kind == Token::Kind::kInteger || token.kind == Token::Kind::kArray ||
                        token.kind == Token::Kind::kMap;
    if (counts && !number && bytes[0] != '#') {
        return no_resp(bytes.substr(0, line_end - 1));
    }
    begin_ += header;
    return token;
}

Result<std::optional<Token>> RespInput::next_text(char type, std::size_t header,
                                                  std::int64_t length) {
    if (length < 0) {
        begin_ += header;
        return Token{};
    }
    const auto size = static_cast<std::size_t>(length);
    if (size > kTextBytesMax) {
        begin_ += header;
        to_skip_ = size + kEnd.size();
        skipped_ = length;
        return skip();
    }
    const std::string_view bytes = unread();
    if (bytes.size() < header + size + kEnd.size()) {
        needed_ = header + size + kEnd.size();
        return std::nullopt;
    }
    Token token{.kind = type == '!' ? Token::Kind::kError : Token::Kind::kText,
                .number = 0,
                .text = bytes.substr(header, size)};
    if (type == '=') {
        token.text.remove_prefix(std::min<std::size_t>(4, size));  // "txt:"
    }
    if (bytes.substr(header + size, kEnd.size()) != kEnd) {
        return no_resp(bytes.substr(0, header));
    }
    begin_ += header + size + kEnd.size();
    return token;
}

std::optional<Token> RespInput::skip() {
    const std::uint64_t now = std::min<std::uint64_t>(to_skip_, end_ - begin_);
    begin_ += static_cast<std::size_t>(now);
    to_skip_ -= now;
    if (to_skip_ > 0) {
        return std::nullopt;
    }
    return Token{.kind = Token::Kind::kOversized, .number = skipped_, .text = {}};
}

const Reply& Reply::at(std::string_view key) const {
    static const Reply kNone;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
        if (items[i].text == key) {
            return items[i + 1];
        }
    }
    return kNone;
}

}  // namespace instep::redis
