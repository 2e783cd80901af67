// The wire format of Redis, in its second and third version: what a client writes is the same
// in both, what it reads is one stream of tokens.
#pragma once

#include "instep/base/error.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep::redis {

/// Appends a command: begin(n), then n arguments.
class CommandWriter {
public:
    explicit CommandWriter(std::string& out) : out_(out) {}

    void begin(std::size_t arguments);
    void argument(std::string_view text);

    /// Arguments that another writer wrote.
    void append(std::string_view arguments) { out_.append(arguments); }

    /// One with all its arguments.
    void command(std::initializer_list<std::string_view> arguments);

private:
    void count(char type, std::size_t number);

    std::string& out_;
};

struct Token {
    enum class Kind : std::uint8_t {
        kText,       ///< A string of either kind, a double or a big number.
        kOversized,  ///< A string of `number` bytes, which were skipped.
        kError,
        kInteger,  ///< Also booleans.
        kNull,
        kArray,  ///< `number` items follow. Sets and pushed messages too.
        kMap,    ///< `number` pairs follow.
    };

    Kind kind = Kind::kNull;
    std::int64_t number = 0;

    /// Valid until room() is called.
    std::string_view text;
};

/// Bytes from a server, cut into tokens. Memory is bounded by the longest string taken.
class RespInput {
public:
    /// Longer strings are skipped as kOversized.
    static constexpr std::size_t kTextBytesMax = 16U * 1024 * 1024;

    /// Where the next bytes go; never empty.
    std::span<char> room();
    void filled(std::size_t bytes) { end_ += bytes; }

    /// The next token, or nothing until more bytes are there. Errors: kCorrupt, and then there is
    /// no more sense in what follows.
    Result<std::optional<Token>> next();

    [[nodiscard]] bool empty() const { return begin_ == end_; }

private:
    [[nodiscard]] std::string_view unread() const {
        return {buffer_.data() + begin_, end_ - begin_};
    }
    Result<std::optional<Token>> next_text(char type, std::size_t header, std::int64_t length);
    std::optional<Token> skip();

    std::vector<char> buffer_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;

    /// How many bytes the token needs that next() could not complete.
    std::size_t needed_ = 0;

    /// What is left of an oversized string, and how long it was.
    std::uint64_t to_skip_ = 0;
    std::int64_t skipped_ = 0;
};

/// A whole reply. Maps are lists of their keys and values in turn, as version 2 has them.
struct Reply {
    Token::Kind kind = Token::Kind::kNull;
    std::int64_t integer = 0;
    std::string text;
    std::vector<Reply> items;

    [[nodiscard]] bool is_null() const { return kind == Token::Kind::kNull; }
    [[nodiscard]] bool is_error() const { return kind == Token::Kind::kError; }

    /// The value behind `key` in a list of keys and values; null if there is none.
    [[nodiscard]] const Reply& at(std::string_view key) const;
};

}  // namespace instep::redis
