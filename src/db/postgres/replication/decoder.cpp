#include "instep/db/postgres/replication/decoder.hpp"

#include "byte_reader.hpp"
#include "server_time.hpp"

#include <fmt/format.h>

#include <optional>

namespace instep::pgoutput {

namespace {

using replication::ByteReader;
using replication::from_server_time;

constexpr std::uint8_t kKeyFlag = 1;
constexpr std::uint8_t kTransactionalFlag = 1;
constexpr std::uint8_t kCascadeFlag = 1;
constexpr std::uint8_t kRestartIdentityFlag = 2;

/// Nothing where the bytes say what version 1 does not have; otherwise the reader tells
/// whether they sufficed.
template <class T>
using Read = std::optional<T>;

Lsn read_lsn(ByteReader& in) { return Lsn{in.u64()}; }

Timestamp read_time(ByteReader& in) { return from_server_time(in.u64()); }

/// Built-in types and tables come without their schema.
std::string_view read_schema(ByteReader& in) {
    const std::string_view schema = in.text();
    return schema.empty() ? "pg_catalog" : schema;
}

bool read_field(ByteReader& in, Field& field) {
    switch (in.u8()) {
        case 'n':
            field = Field{FieldKind::kNull, {}};
            return true;
        case 'u':
            field = Field{FieldKind::kUnchanged, {}};
            return true;
        case 't':
            field = Field{FieldKind::kText, in.bytes(in.u32())};
            return true;
        case 'b':
            field = Field{FieldKind::kBinary, in.bytes(in.u32())};
            return true;
        default:
            return false;
    }
}

bool read_tuple(ByteReader& in, std::vector<Field>& fields) {
    const std::uint16_t count = in.u16();
    fields.clear();
    for (std::uint16_t i = 0; i < count && !in.failed(); ++i) {
        if (!read_field(in, fields.emplace_back())) {
            return false;
        }
    }
    return true;
}

std::optional<OldTuple> old_tuple(std::uint8_t mark) {
    switch (mark) {
        case 'K':
            return OldTuple::kKey;
        case 'O':
            return OldTuple::kFull;
        default:
            return std::nullopt;
    }
}

Read<Begin> read_begin(ByteReader& in) {
    Begin begin;
    begin.final_lsn = read_lsn(in);
    begin.commit_time = read_time(in);
    begin.xid = in.u32();
    return begin;
}

Read<Commit> read_commit(ByteReader& in) {
    if (in.u8() != 0) {
        return std::nullopt;
    }
    Commit commit;
    commit.commit_lsn = read_lsn(in);
    commit.end_lsn = read_lsn(in);
    commit.commit_time = read_time(in);
    return commit;
}

Read<Origin> read_origin(ByteReader& in) {
    Origin origin;
    origin.commit_lsn = read_lsn(in);
    origin.name = in.text();
    return origin;
}

Read<Type> read_type(ByteReader& in) {
    Type type;
    type.oid = in.u32();
    type.schema = read_schema(in);
    type.name = in.text();
    return type;
}

Read<Relation> read_relation(ByteReader& in, std::vector<Column>& columns) {
    Relation relation;
    relation.oid = in.u32();
    relation.schema = read_schema(in);
    relation.name = in.text();
    const char identity = static_cast<char>(in.u8());
    if (std::string_view("dnfi").find(identity) == std::string_view::npos) {
        return std::nullopt;
    }
    relation.identity = ReplicaIdentity{identity};
    const std::uint16_t count = in.u16();
    columns.clear();
    for (std::uint16_t i = 0; i < count && !in.failed(); ++i) {
        Column& column = columns.emplace_back();
        const std::uint8_t flags = in.u8();
        column.is_key = (flags & kKeyFlag) != 0;
        column.name = in.text();
        column.type_oid = in.u32();
        column.type_modifier = in.i32();
        if ((flags & ~kKeyFlag) != 0) {
            return std::nullopt;
        }
    }
    relation.columns = columns;
    return relation;
}

Read<Insert> read_insert(ByteReader& in, std::vector<Field>& row) {
    Insert insert;
    insert.relation_oid = in.u32();
    if (in.u8() != 'N' || !read_tuple(in, row)) {
        return std::nullopt;
    }
    insert.row = row;
    return insert;
}

Read<Update> read_update(ByteReader& in, std::vector<Field>& old, std::vector<Field>& row) {
    Update update;
    update.relation_oid = in.u32();
    std::uint8_t mark = in.u8();
    if (const auto kind = old_tuple(mark)) {
        update.old_kind = *kind;
        if (!read_tuple(in, old)) {
            return std::nullopt;
        }
        update.old = old;
        mark = in.u8();
    }
    if (mark != 'N' || !read_tuple(in, row)) {
        return std::nullopt;
    }
    update.row = row;
    return update;
}

Read<Delete> read_delete(ByteReader& in, std::vector<Field>& old) {
    Delete change;
    change.relation_oid = in.u32();
    const auto kind = old_tuple(in.u8());
    if (!kind || !read_tuple(in, old)) {
        return std::nullopt;
    }
    change.old_kind = *kind;
    change.old = old;
    return change;
}

Read<Truncate> read_truncate(ByteReader& in, std::vector<std::uint32_t>& oids) {
    const std::uint32_t count = in.u32();
    const std::uint8_t flags = in.u8();
    if ((flags & ~(kCascadeFlag | kRestartIdentityFlag)) != 0) {
        return std::nullopt;
    }
    oids.clear();
    for (std::uint32_t i = 0; i < count && !in.failed(); ++i) {
        oids.push_back(in.u32());
    }
    return Truncate{oids, (flags & kCascadeFlag) != 0, (flags & kRestartIdentityFlag) != 0};
}

Read<LogicalMessage> read_logical_message(ByteReader& in) {
    const std::uint8_t flags = in.u8();
    if ((flags & ~kTransactionalFlag) != 0) {
        return std::nullopt;
    }
    LogicalMessage message;
    message.transactional = flags == kTransactionalFlag;
    message.lsn = read_lsn(in);
    message.prefix = in.text();
    message.content = in.bytes(in.u32());
    return message;
}

std::unexpected<Error> malformed(std::string_view bytes, std::size_t position) {
    const auto kind = static_cast<std::uint8_t>(bytes.empty() ? 0 : bytes.front());
    return fail(ErrorCode::kCorrupt,
                fmt::format("a pgoutput message of {} bytes and kind 0x{:02x} is not of protocol "
                            "version 1 (at byte {}); is a proxy in between, or the server of an "
                            "unknown version?",
                            bytes.size(), kind, position));
}

}  // namespace

Result<Message> Decoder::decode(std::string_view bytes) {
    ByteReader in(bytes);
    const auto whole = [&](auto read) -> Result<Message> {
        if (!read || in.failed() || in.left() != 0) {
            return malformed(bytes, in.position());
        }
        return Message(*read);
    };
    switch (in.u8()) {
        case 'B':
            return whole(read_begin(in));
        case 'C':
            return whole(read_commit(in));
        case 'O':
            return whole(read_origin(in));
        case 'Y':
            return whole(read_type(in));
        case 'R':
            return whole(read_relation(in, columns_));
        case 'I':
            return whole(read_insert(in, row_));
        case 'U':
            return whole(read_update(in, old_, row_));
        case 'D':
            return whole(read_delete(in, old_));
        case 'T':
            return whole(read_truncate(in, oids_));
        case 'M':
            return whole(read_logical_message(in));
        default:
            return malformed(bytes, 0);
    }
}

}  // namespace instep::pgoutput
