// The row of instep.wal_cursor: how far a reader of the write-ahead log has got.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep::wal {

/// A place in the write-ahead log between two changes.
struct Place {
    /// Everything that was committed before it is done.
    std::uint64_t position = 0;

    /// Of the transaction that committed at `part_lsn` what stands up to `part_index` is, too.
    std::uint64_t part_lsn = 0;
    std::uint32_t part_index = 0;

    friend bool operator==(const Place&, const Place&) = default;
};

/// The history that positions belong to.
struct ServerIdentity {
    std::int64_t system_id = 0;
    std::int64_t timeline = 0;
    std::int64_t database_id = 0;

    friend bool operator==(const ServerIdentity&, const ServerIdentity&) = default;
};

/// See sql/postgres/006_wal.sql.
struct WalCursor {
    std::string slot;
    ServerIdentity server;
    std::uint64_t begins = 0;
    Place place;
    std::vector<std::uint64_t> unseen;
    std::optional<std::uint64_t> ends;
};

/// Where the connection leads to.
Result<ServerIdentity> server_identity(Connection& connection);

/// How far the server has written its log; includes what is not flushed.
Result<std::uint64_t> written_end(Connection& connection);

/// Nothing while triggers capture.
Result<std::optional<WalCursor>> load_cursor(Connection& connection, std::string_view reader);

/// Begins at `position`, on the connection's server. Replaces what there was.
Result<void> begin_cursor(Transaction& transaction, std::string_view reader, std::string_view slot,
                          std::uint64_t position);

/// When a commit is sure to survive.
enum class Flush : std::uint8_t { kAtOnce, kLater };

struct CursorMove {
    std::string_view reader;
    Place from;
    Place to;

    /// Transactions that were handed out and not seen; those that are seen now are dropped.
    std::span<const std::uint64_t> unseen{};
    Flush flush = Flush::kLater;
};

/// Returns the transactions that are still not seen. Errors: kFenced if the cursor does not
/// stand at `from`.
Result<std::vector<std::uint64_t>> move_cursor(Transaction& transaction, const CursorMove& move);

/// Capture from the write-ahead log ends at `position`; triggers do what comes behind it.
Result<void> end_cursor(Transaction& transaction, std::string_view reader, std::uint64_t position);

Result<void> remove_cursor(Transaction& transaction, std::string_view reader);

}  // namespace instep::wal
