// A database that connections can be opened to, and its migrations.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace instep {

/// What is true of a commit when it returns.
enum class Durability : std::uint8_t {
    kFull,     ///< It survives a power failure.
    kProcess,  ///< It survives a crash of this process; a power failure may undo the latest
               ///< commits, whole and in reverse order. For what can be done again.
};

struct ConnectOptions {
    /// kFull costs one disk synchronization a commit.
    Durability durability = Durability::kFull;

    /// How long a statement waits for another writer's lock before kBusy, 0 to 60 s.
    std::chrono::milliseconds lock_patience{5000};

    /// Page cache of the connection in KiB, 64 to 1,048,576. Larger is faster on wide key
    /// ranges and costs that much memory a connection. PostgreSQL has one cache for all.
    std::uint32_t cache_kib = 1024;
};

/// Errors: kInvalidArgument for an option out of bounds. For backends.
Result<void> check(const ConnectOptions& options);

/// Safe to call from any thread.
class Database {
public:
    virtual ~Database() = default;

    /// Errors: kNotFound if the database does not exist; kUnavailable, kCorrupt,
    /// kPermissionDenied; kSchemaMismatch if the server or library is too old.
    virtual Result<std::unique_ptr<Connection>> connect(ConnectOptions options = {}) = 0;

    /// The URL without secrets, for messages.
    [[nodiscard]] virtual std::string_view display_url() const = 0;
};

/// One step of our own tables' schema. Steps are numbered from 1 without gaps.
struct Migration {
    std::uint32_t number = 0;
    std::string_view name;
    std::string_view sql;
};

/// Brings our tables ("instep_…") to the newest step, each step in one transaction; safe to
/// call from several processes at once. Returns how many steps it took.
///
/// Errors: kSchemaMismatch if the database is newer than this program or a step that was
/// taken has another text; those of Connection.
Result<std::uint32_t> migrate(Connection& connection, std::span<const Migration> migrations);

/// The number of the newest step taken, 0 if none. Changes nothing.
Result<std::uint32_t> migration_level(Connection& connection);

}  // namespace instep
