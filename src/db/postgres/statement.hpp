#pragma once

#include "instep/base/error.hpp"
#include "oids.hpp"
#include "result.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace instep::postgres {

/// A statement that the server has prepared.
struct Statement {
    /// Empty for the unnamed one, which the next replaces.
    std::string name;
    std::vector<Oid> parameter_types;

    /// How its rows are asked for: in binary where all of their types are known.
    int result_format = kTextFormat;
};

/// How long the server keeps a prepared statement.
enum class Keeping : std::uint8_t { kSession, kOneUse };

/// The prepared statements of one session, by their text.
class StatementCache {
public:
    explicit StatementCache(Keeping keeping) : keeping_(keeping) {}

    /// The statement, prepared now if it is not yet. Valid until the next call. A result that is
    /// not good is why it could not be prepared.
    struct Prepared {
        const Statement* statement = nullptr;
        ServerResult failure;
    };
    Prepared take(PGconn* connection, std::string_view sql);

    /// True if take() will not ask the server.
    [[nodiscard]] bool holds(std::string_view sql) const { return entries_.contains(sql); }

    /// Makes the statement be prepared anew at its next use.
    void forget(std::string_view sql);
    void forget_all() { entries_.clear(); }

private:
    struct Entry {
        Statement statement;
        std::uint64_t last_use = 0;
    };
    struct TextHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const noexcept {
            return std::hash<std::string_view>{}(text);
        }
    };

    void drop_oldest(PGconn* connection);

    Keeping keeping_;
    std::unordered_map<std::string, Entry, TextHash, std::equal_to<>> entries_;
    Statement unnamed_;
    std::uint64_t uses_ = 0;
    std::uint64_t names_ = 0;
};

}  // namespace instep::postgres
