// What pgoutput, PostgreSQL's own output plugin, says of committed transactions, protocol
// version 1: transactions come whole, one after another, in the order of their commits.
//
//   Begin  (Origin | Type | Relation | Insert | Update | Delete | Truncate | LogicalMessage)*
//   Commit
//
// Between transactions stand only non-transactional LogicalMessages. A Relation comes before the
// first change of a table in a session, and again before the next change when the table has
// changed; a tuple's columns are those of its table's last Relation, in the same order. Before
// PostgreSQL 15 a transaction without published changes is an empty Begin and Commit.
//
// Views and spans live as the function that returned the message says.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/db/postgres/replication/lsn.hpp"

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

namespace instep::pgoutput {

/// A transaction follows.
struct Begin {
    /// The commit_lsn of its Commit: what orders transactions.
    Lsn final_lsn;
    Timestamp commit_time;

    /// Without the epoch: it wraps around.
    std::uint32_t xid = 0;
};

/// The transaction is complete.
struct Commit {
    /// Where its commit record starts.
    Lsn commit_lsn;

    /// Behind the commit record. Confirming this position is confirming the transaction.
    Lsn end_lsn;
    Timestamp commit_time;
};

/// The transaction was replicated to this server from another one.
struct Origin {
    /// Where it was committed on that server.
    Lsn commit_lsn;
    std::string_view name;
};

/// A type that is not built in; before the first Relation that has it.
struct Type {
    std::uint32_t oid = 0;
    std::string_view schema;
    std::string_view name;
};

/// What a table's updates and deletes say of the old row.
enum class ReplicaIdentity : char {
    kDefault = 'd',  ///< The primary key.
    kNothing = 'n',  ///< Nothing: the server refuses updates and deletes.
    kFull = 'f',     ///< The whole row.
    kIndex = 'i',    ///< The columns of one unique index.
};

/// A published column.
struct Column {
    std::string_view name;
    std::uint32_t type_oid = 0;

    /// Such as a length limit; -1 without.
    std::int32_t type_modifier = -1;

    /// Part of the replica identity; with ReplicaIdentity::kFull every column is.
    bool is_key = false;
};

/// A table as its next changes have it.
struct Relation {
    std::uint32_t oid = 0;
    std::string_view schema;
    std::string_view name;
    ReplicaIdentity identity = ReplicaIdentity::kDefault;
    std::span<const Column> columns;
};

/// What a tuple says of one column.
enum class FieldKind : std::uint8_t {
    kNull,       ///< NULL; in a key tuple, also every column that is not of the key.
    kUnchanged,  ///< A large value that the update did not touch and the log does not hold.
    kText,       ///< The type's text form, in UTF-8 unless the database is SQL_ASCII.
    kBinary,     ///< The type's binary form; only if asked for, and not for every type.
};

/// One column's value.
struct Field {
    FieldKind kind = FieldKind::kNull;

    /// Empty for kNull and kUnchanged.
    std::string_view bytes;
};

using Tuple = std::span<const Field>;

/// How much of the old row a change holds.
enum class OldTuple : std::uint8_t {
    kNone,  ///< Nothing: the key did not change.
    kKey,   ///< The old key.
    kFull,  ///< All columns, under ReplicaIdentity::kFull.
};

/// A row came.
struct Insert {
    std::uint32_t relation_oid = 0;
    Tuple row;
};

/// A row changed. Fields of `row` may be kUnchanged; where `old` is kFull, it has their values.
struct Update {
    std::uint32_t relation_oid = 0;
    OldTuple old_kind = OldTuple::kNone;
    Tuple old;
    Tuple row;
};

/// A row went.
struct Delete {
    std::uint32_t relation_oid = 0;

    /// kKey or kFull.
    OldTuple old_kind = OldTuple::kKey;
    Tuple old;
};

/// Tables were emptied, together.
struct Truncate {
    std::span<const std::uint32_t> relation_oids;
    bool cascade = false;
    bool restart_identity = false;
};

/// What pg_logical_emit_message() wrote. A transactional one stands where it was written in its
/// transaction; another one stands alone, also if its transaction did not commit.
struct LogicalMessage {
    bool transactional = false;

    /// Where it stands in the log.
    Lsn lsn;
    std::string_view prefix;
    std::string_view content;
};

using Message = std::variant<Begin, Commit, Origin, Type, Relation, Insert, Update, Delete,
                             Truncate, LogicalMessage>;

}  // namespace instep::pgoutput
