#include "instep/db/postgres/replication/decoder.hpp"

#include "instep/base/bytes.hpp"

#include <gmock/gmock.h>

#include <array>
#include <random>
#include <string>
#include <vector>

namespace instep::pgoutput {

namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// What PostgreSQL 15 sent, as pg_logical_slot_peek_binary_changes() shows it.
constexpr std::string_view kBegin = "420000000001549aa80002eef1e2061600000002dd";
constexpr std::string_view kOrigin = "4f0000000000aabbcc66617200";
constexpr std::string_view kType = "590000400273686f70006d6f6f6400";
constexpr std::string_view kRelation =
    "520000400773686f70006974656d006400040169640000000017ffffffff006e616d6500000004130000001800"
    "6d6f6f640000004002ffffffff006269670000000019ffffffff";
constexpr std::string_view kRelationFull =
    "520000400e7075626c69630077686f6c650066000201610000000017ffffffff01620000000019ffffffff";
constexpr std::string_view kInsert = "490000400e4e00027400000001317400000000";
constexpr std::string_view kUpdateUnchanged = "55000040074e00047400000001316e7400000004676c616475";
constexpr std::string_view kUpdateKey =
    "55000040074b00047400000001316e6e6e4e00047400000001326e7400000004676c616475";
constexpr std::string_view kUpdateFull =
    "550000400e4f000274000000013174000000004e00027400000001317400000002c3a9";
constexpr std::string_view kDeleteKey = "44000040074b00047400000001326e6e6e";
constexpr std::string_view kDeleteFull = "440000400e4f00027400000001317400000002c3a9";
constexpr std::string_view kTruncate = "5400000002030000400e00004014";
constexpr std::string_view kMessage = "4d0100000000015486a86e6f7465000000000677697468696e";
constexpr std::string_view kCommit = "43000000000001549aa80000000001549ca00002eef1e2061600";

constexpr std::array kCaptured{
    kBegin,     kOrigin,     kType,      kRelation,   kRelationFull, kInsert,  kUpdateUnchanged,
    kUpdateKey, kUpdateFull, kDeleteKey, kDeleteFull, kTruncate,     kMessage, kCommit};

auto is_field(FieldKind kind, std::string_view bytes = {}) {
    return AllOf(Field(&pgoutput::Field::kind, kind), Field(&pgoutput::Field::bytes, bytes));
}
auto is_text(std::string_view bytes) { return is_field(FieldKind::kText, bytes); }
auto is_null() { return is_field(FieldKind::kNull); }

class PgoutputDecoder : public ::testing::Test {
protected:
    /// The message in `hex`; its views live until the next call.
    template <class T>
    T decode(std::string_view hex) {
        bytes_ = from_hex(hex).value();
        return std::get<T>(decoder_.decode(bytes_).value());
    }

    Result<Message> decode_bytes(std::string_view bytes) {
        bytes_ = bytes;
        return decoder_.decode(bytes_);
    }

    std::string bytes_;
    Decoder decoder_;
};

TEST_F(PgoutputDecoder, ReadsTheFrameOfATransaction) {
    const auto begin = decode<Begin>(kBegin);
    const auto commit = decode<Commit>(kCommit);
    EXPECT_EQ(begin.final_lsn, commit.commit_lsn);
    EXPECT_EQ(begin.xid, 733U);
    EXPECT_EQ(format_time(begin.commit_time), "2026-03-01T09:30:00.000000Z");
    EXPECT_EQ(format_lsn(commit.commit_lsn), "0/1549AA8");
    EXPECT_EQ(format_lsn(commit.end_lsn), "0/1549CA0");
    EXPECT_EQ(commit.commit_time, begin.commit_time);

    const auto origin = decode<Origin>(kOrigin);
    EXPECT_EQ(origin.commit_lsn, Lsn{0xAABBCC});
    EXPECT_EQ(origin.name, "far");
}

TEST_F(PgoutputDecoder, ReadsTablesAndTypes) {
    const auto type = decode<Type>(kType);
    EXPECT_EQ(type.schema, "shop");
    EXPECT_EQ(type.name, "mood");

    const auto relation = decode<Relation>(kRelation);
    EXPECT_EQ(relation.oid, 0x4007U);
    EXPECT_EQ(relation.schema, "shop");
    EXPECT_EQ(relation.name, "item");
    EXPECT_EQ(relation.identity, ReplicaIdentity::kDefault);
    ASSERT_EQ(relation.columns.size(), 4U);
    EXPECT_EQ(relation.columns[0].name, "id");
    EXPECT_TRUE(relation.columns[0].is_key);
    EXPECT_EQ(relation.columns[0].type_modifier, -1);
    EXPECT_FALSE(relation.columns[1].is_key);
    EXPECT_EQ(relation.columns[1].type_modifier, 24);
    EXPECT_EQ(relation.columns[2].type_oid, 0x4002U);

    EXPECT_EQ(decode<Relation>(kRelationFull).identity, ReplicaIdentity::kFull);
}

TEST_F(PgoutputDecoder, NamesTheSchemaThatTheServerLeavesOut) {
    EXPECT_EQ(decode<Type>("5900000001007800").schema, "pg_catalog");
}

TEST_F(PgoutputDecoder, TellsEmptyFromNullFromUnchanged) {
    EXPECT_THAT(decode<Insert>(kInsert).row, ElementsAre(is_text("1"), is_text("")));
    const auto update = decode<Update>(kUpdateUnchanged);
    EXPECT_EQ(update.old_kind, OldTuple::kNone);
    EXPECT_THAT(update.old, IsEmpty());
    EXPECT_THAT(update.row, ElementsAre(is_text("1"), is_null(), is_text("glad"),
                                        is_field(FieldKind::kUnchanged)));
}

TEST_F(PgoutputDecoder, ReadsOldKeysAndOldRows) {
    const auto moved = decode<Update>(kUpdateKey);
    EXPECT_EQ(moved.old_kind, OldTuple::kKey);
    EXPECT_THAT(moved.old, ElementsAre(is_text("1"), is_null(), is_null(), is_null()));
    EXPECT_THAT(moved.row[0], is_text("2"));

    const auto whole = decode<Update>(kUpdateFull);
    EXPECT_EQ(whole.old_kind, OldTuple::kFull);
    EXPECT_THAT(whole.old, ElementsAre(is_text("1"), is_text("")));
    EXPECT_THAT(whole.row, ElementsAre(is_text("1"), is_text("é")));

    EXPECT_EQ(decode<Delete>(kDeleteKey).old_kind, OldTuple::kKey);
    EXPECT_THAT(decode<Delete>(kDeleteFull).old, ElementsAre(is_text("1"), is_text("é")));
}

TEST_F(PgoutputDecoder, ReadsBinaryValues) {
    EXPECT_THAT(decode<Insert>("49000000014e0001620000000400000007").row,
                ElementsAre(is_field(FieldKind::kBinary, std::string_view("\0\0\0\7", 4))));
}

TEST_F(PgoutputDecoder, ReadsTruncatesAndLogicalMessages) {
    const auto truncate = decode<Truncate>(kTruncate);
    EXPECT_THAT(truncate.relation_oids, ElementsAre(0x400EU, 0x4014U));
    EXPECT_TRUE(truncate.cascade);
    EXPECT_TRUE(truncate.restart_identity);

    const auto message = decode<LogicalMessage>(kMessage);
    EXPECT_TRUE(message.transactional);
    EXPECT_EQ(format_lsn(message.lsn), "0/15486A8");
    EXPECT_EQ(message.prefix, "note");
    EXPECT_EQ(message.content, "within");
}

TEST_F(PgoutputDecoder, RefusesWhatIsCutShortOrTooLong) {
    for (const std::string_view hex : kCaptured) {
        const std::string whole = from_hex(hex).value();
        for (std::size_t size = 0; size < whole.size(); ++size) {
            // A copy of just this size, so that the sanitizers see a read behind it.
            const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<long>(size));
            const auto result = decoder_.decode(std::string_view(cut.data(), cut.size()));
            ASSERT_FALSE(result.has_value()) << hex << " cut to " << size;
            EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
        }
        EXPECT_FALSE(decode_bytes(whole + '\0').has_value()) << hex;
        EXPECT_TRUE(decode_bytes(whole).has_value()) << hex;
    }
}

TEST_F(PgoutputDecoder, RefusesMarksThatVersion1DoesNotHave) {
    for (const std::string_view hex : {
             "5a",                                                    // kind
             "43010000000001549aa80000000001549ca00002eef1e2061600",  // flags of a commit
             "5200000001007800780000",                                // replica identity
             "49000000014e000178",                                    // kind of a field
             "49000000014b0000",                                      // an insert of an old row
             "44000000014e0000",                                      // a delete of a new row
             "540000000004",                                          // flags of a truncate
             "4d0200000000000000000000000000",                        // flags of a message
         }) {
        const auto result = decode_bytes(from_hex(hex).value());
        ASSERT_FALSE(result.has_value()) << hex;
        EXPECT_EQ(result.error().code, ErrorCode::kCorrupt) << hex;
    }
}

TEST_F(PgoutputDecoder, AllocatesNothingOnTheWordOfALength) {
    EXPECT_FALSE(decode_bytes(from_hex("54ffffffff00").value()).has_value());
    EXPECT_FALSE(decode_bytes(from_hex("49000000014effff").value()).has_value());
    EXPECT_FALSE(decode_bytes(from_hex("49000000014e000174ffffffff").value()).has_value());
}

TEST_F(PgoutputDecoder, TakesAnyBytes) {
    std::minstd_rand random(7);  // NOLINT: the same bytes each time
    const auto byte = [&] { return static_cast<char>(random() & 0xffU); };
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes = from_hex(kCaptured[random() % kCaptured.size()]).value();
        if (round % 2 == 0) {
            bytes.resize(random() % 64);
            std::ranges::generate(bytes, byte);
        } else {
            bytes[random() % bytes.size()] = byte();
        }
        const std::vector<char> exact(bytes.begin(), bytes.end());
        const auto result = decoder_.decode(std::string_view(exact.data(), exact.size()));
        EXPECT_TRUE(result.has_value() || result.error().code == ErrorCode::kCorrupt);
    }
}

TEST_F(PgoutputDecoder, ShowsNoContentInItsErrors) {
    const auto result = decode_bytes(from_hex("49000000014e000274000000067365637265747a").value());
    ASSERT_FALSE(result.has_value());
    EXPECT_THAT(result.error().message, AllOf(HasSubstr("0x49"), Not(HasSubstr("secret"))));
}

}  // namespace

}  // namespace instep::pgoutput
