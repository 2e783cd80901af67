#pragma once

#include "instep/base/error.hpp"
#include "instep/db/value.hpp"
#include "open_database.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace instep::sqlite {

/// Who keeps a parameter's bytes until the statement is reset.
enum class ParameterBytes : std::uint8_t { kBorrowed, kCopied };

/// One prepared statement whose parameters are $1, $2, … in any order, each used any number
/// of times.
class Statement {
public:
    /// Errors: kInvalidArgument if `sql` is not exactly one statement with such parameters;
    /// those of Connection.
    static Result<Statement> prepare(const OpenDatabase& database, std::string_view sql);

    /// Returns a code of SQLite. There must be parameter_count() parameters.
    [[nodiscard]] int bind(std::span<const ValueView> parameters, ParameterBytes bytes) noexcept;

    /// As the functions of the C library.
    [[nodiscard]] int step() noexcept { return sqlite3_step(handle_.get()); }
    void reset() noexcept { sqlite3_reset(handle_.get()); }
    void clear() noexcept { sqlite3_clear_bindings(handle_.get()); }

    [[nodiscard]] sqlite3_stmt* handle() const noexcept { return handle_.get(); }
    [[nodiscard]] std::size_t parameter_count() const noexcept { return parameter_count_; }
    [[nodiscard]] bool reads_only() const noexcept {
        return sqlite3_stmt_readonly(handle_.get()) != 0;
    }

private:
    struct Finalize {
        void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
    };

    Statement() = default;
    Result<void> map_parameters(std::string_view sql);

    std::unique_ptr<sqlite3_stmt, Finalize> handle_;
    std::vector<std::uint32_t> parameter_of_slot_;
    std::size_t parameter_count_ = 0;
};

/// Prepared statements by their text. A statement is taken while it is in use and given back
/// afterwards; if the same text is needed meanwhile, another one is prepared.
class StatementCache {
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
    using Entries = std::unordered_map<std::string, Entry, TextHash, std::equal_to<>>;

public:
    /// A statement in use; given back, reset and without parameters, at the end.
    class Lease {
    public:
        Lease(StatementCache& cache, Entries::node_type node)
            : cache_(&cache), node_(std::move(node)) {}
        Lease(Lease&& other) noexcept = default;
        Lease& operator=(Lease&&) = delete;
        ~Lease();

        Statement* operator->() const noexcept { return &node_.mapped().statement; }
        [[nodiscard]] std::string_view sql() const noexcept { return node_.key(); }

    private:
        StatementCache* cache_;
        Entries::node_type node_;
    };

    /// `database` must outlive the cache.
    explicit StatementCache(const OpenDatabase& database) : database_(&database) {}

    Result<Lease> take(std::string_view sql);

private:
    void give_back(Entries::node_type node);

    const OpenDatabase* database_;
    Entries entries_;
    std::uint64_t uses_ = 0;
};

}  // namespace instep::sqlite
