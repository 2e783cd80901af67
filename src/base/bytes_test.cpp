#include "instep/base/bytes.hpp"

#include "instep/base/random.hpp"

#include <gtest/gtest.h>

namespace instep {
namespace {

using namespace std::string_view_literals;

std::string random_bytes(Random& random, std::size_t size) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) {
        bytes.push_back(static_cast<char>(random.below(256)));
    }
    return bytes;
}

TEST(Hex, WritesLowerCaseAndReadsEither) {
    EXPECT_EQ(to_hex("\x00\x7F\xFF"sv), "007fff");
    EXPECT_EQ(from_hex("007fFF").value(), "\x00\x7F\xFF"sv);
}

TEST(Hex, ReadsBackWhateverItWrote) {
    SeededRandom random(1);
    for (std::size_t size = 0; size < 64; ++size) {
        const std::string bytes = random_bytes(random, size);
        EXPECT_EQ(from_hex(to_hex(bytes)).value(), bytes);
    }
}

TEST(Hex, RefusesAnOddLengthAndOtherCharacters) {
    for (const std::string_view text : {"0"sv, "0g"sv, " 0"sv, "0x"sv, "@a"sv, "\xFF\xFF"sv}) {
        EXPECT_EQ(from_hex(text).error().code, ErrorCode::kInvalidArgument) << text;
    }
}

TEST(Base64, MatchesTheVectorsOfRfc4648) {
    EXPECT_EQ(to_base64(""), "");
    EXPECT_EQ(to_base64("f"), "Zg==");
    EXPECT_EQ(to_base64("fo"), "Zm8=");
    EXPECT_EQ(to_base64("foo"), "Zm9v");
    EXPECT_EQ(to_base64("foob"), "Zm9vYg==");
    EXPECT_EQ(to_base64("fooba"), "Zm9vYmE=");
    EXPECT_EQ(to_base64("foobar"), "Zm9vYmFy");
    EXPECT_EQ(to_base64("\xFB\xFF"), "+/8=");
}

TEST(Base64, ReadsBackWhateverItWrote) {
    SeededRandom random(2);
    for (std::size_t size = 0; size < 64; ++size) {
        const std::string bytes = random_bytes(random, size);
        EXPECT_EQ(from_base64(to_base64(bytes)).value(), bytes);
    }
}

TEST(Base64, RefusesEverySecondSpellingOfTheSameBytes) {
    for (const std::string_view text :
         {"Zg"sv, "Zg="sv, "Zh=="sv, "Zm9="sv, "Z==="sv, "===="sv, "Zg==\n"sv, "Zm9v Zm9"sv,
          "-_8="sv, "=m9v"sv, "Zg==Zg=="sv}) {
        EXPECT_EQ(from_base64(text).error().code, ErrorCode::kInvalidArgument) << text;
    }
}

TEST(Utf8, AcceptsEveryLengthUpToTheLastCodePoint) {
    EXPECT_TRUE(is_utf8(""));
    EXPECT_TRUE(is_utf8("plain\0text"sv));
    EXPECT_TRUE(is_utf8("\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xED\x9F\xBF \xEE\x80\x80"));
    EXPECT_TRUE(is_utf8("\xF0\x90\x80\x80 \xF4\x8F\xBF\xBF"));
}

TEST(Utf8, RefusesWhatNoJsonTextMayHold) {
    EXPECT_FALSE(is_utf8("\x80")) << "a continuation without a start";
    EXPECT_FALSE(is_utf8("\xC3")) << "cut off";
    EXPECT_FALSE(is_utf8("\xE2\x82")) << "cut off";
    EXPECT_FALSE(is_utf8("\xE2\x28\xA1")) << "no continuation second";
    EXPECT_FALSE(is_utf8("\xE2\x82\x28")) << "no continuation third";
    EXPECT_FALSE(is_utf8("\xC0\xAF")) << "overlong";
    EXPECT_FALSE(is_utf8("\xE0\x9F\xBF")) << "overlong";
    EXPECT_FALSE(is_utf8("\xF0\x8F\xBF\xBF")) << "overlong";
    EXPECT_FALSE(is_utf8("\xED\xA0\x80")) << "a surrogate";
    EXPECT_FALSE(is_utf8("\xF4\x90\x80\x80")) << "above the last code point";
    EXPECT_FALSE(is_utf8("\xFF"));
}

TEST(BigEndian, ReadsBackWhateverItWrote) {
    std::string bytes;
    append_big_endian(bytes, std::uint64_t{0x0102030405060708});
    append_big_endian(bytes, std::uint32_t{0xFFFEFDFC});
    EXPECT_EQ(to_hex(bytes), "0102030405060708fffefdfc");
    EXPECT_EQ(read_big_endian_64(bytes), 0x0102030405060708U);
    EXPECT_EQ(read_big_endian_32(std::string_view(bytes).substr(8)), 0xFFFEFDFCU);
}

TEST(BigEndian, SortsAsTheNumbersDo) {
    SeededRandom random(3);
    for (int i = 0; i < 1000; ++i) {
        const std::uint64_t a = random.next() >> random.below(64);
        const std::uint64_t b = random.next() >> random.below(64);
        std::string a_bytes;
        std::string b_bytes;
        append_big_endian(a_bytes, a);
        append_big_endian(b_bytes, b);
        EXPECT_EQ(a < b, a_bytes < b_bytes);
    }
}

TEST(KeyHash, KeepsEveryKeyInItsPartitionAcrossReleases) {
    EXPECT_EQ(key_hash(""), 0x2D06800538D394C2U);
    EXPECT_EQ(key_hash("user-42"), 5836184775705692621U);
}

}  // namespace
}  // namespace instep
