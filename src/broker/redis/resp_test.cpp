#include "resp.hpp"

#include "instep/base/random.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <vector>

namespace instep::redis {

namespace {

using ::testing::ElementsAre;
using Kind = Token::Kind;

struct Seen {
    Kind kind;
    std::int64_t number;
    std::string text;

    friend bool operator==(const Seen&, const Seen&) = default;
};

void PrintTo(const Seen& seen, std::ostream* out) {
    *out << static_cast<int>(seen.kind) << ' ' << seen.number << ' ' << seen.text.substr(0, 60);
}

void feed(RespInput& input, std::string_view bytes) {
    while (!bytes.empty()) {
        const auto room = input.room();
        const std::size_t now = std::min(room.size(), bytes.size());
        std::copy_n(bytes.begin(), now, room.begin());
        input.filled(now);
        bytes.remove_prefix(now);
    }
}

/// Takes everything that is there.
Result<std::vector<Seen>> take(RespInput& input) {
    std::vector<Seen> seen;
    while (true) {
        INSTEP_TRY_ASSIGN(const auto token, input.next());
        if (!token) {
            return seen;
        }
        seen.push_back({token->kind, token->number, std::string(token->text)});
    }
}

Result<std::vector<Seen>> parse(std::string_view bytes) {
    RespInput input;
    feed(input, bytes);
    return take(input);
}

constexpr std::string_view kOfEveryKind =
    "+OK\r\n-ERR no\r\n:-12\r\n$5\r\nhe\r\no\r\n$-1\r\n*2\r\n*-1\r\n%1\r\n~3\r\n>2\r\n_\r\n#t\r\n"
    "#f\r\n,1.5\r\n(123456789012345678901234567890\r\n=6\r\ntxt:ab\r\n!5\r\nERR x\r\n$0\r\n\r\n";

}  // namespace

TEST(RespInput, ReadsTokensOfEveryKind) {
    EXPECT_THAT(
        parse(kOfEveryKind).value(),
        ElementsAre(
            Seen{Kind::kText, 0, "OK"}, Seen{Kind::kError, 0, "ERR no"},
            Seen{Kind::kInteger, -12, "-12"}, Seen{Kind::kText, 0, "he\r\no"},
            Seen{Kind::kNull, 0, ""}, Seen{Kind::kArray, 2, "2"}, Seen{Kind::kNull, -1, "-1"},
            Seen{Kind::kMap, 1, "1"}, Seen{Kind::kArray, 3, "3"}, Seen{Kind::kArray, 2, "2"},
            Seen{Kind::kNull, 0, ""}, Seen{Kind::kInteger, 1, "t"}, Seen{Kind::kInteger, 0, "f"},
            Seen{Kind::kText, 0, "1.5"}, Seen{Kind::kText, 0, "123456789012345678901234567890"},
            Seen{Kind::kText, 0, "ab"}, Seen{Kind::kError, 0, "ERR x"}, Seen{Kind::kText, 0, ""}));
}

TEST(RespInput, ReadsTheSameHoweverTheBytesArrive) {
    const auto whole = parse(kOfEveryKind).value();
    for (std::size_t piece = 1; piece < kOfEveryKind.size(); ++piece) {
        RespInput input;
        std::vector<Seen> seen;
        for (std::size_t at = 0; at < kOfEveryKind.size(); at += piece) {
            feed(input, kOfEveryKind.substr(at, piece));
            std::ranges::move(take(input).value(), std::back_inserter(seen));
        }
        ASSERT_EQ(seen, whole) << piece;
        EXPECT_TRUE(input.empty());
    }
}

TEST(RespInput, SkipsTextsThatAreTooLong) {
    const std::string text(RespInput::kTextBytesMax + 1, 'x');
    const std::string bytes = "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n:7\r\n";
    RespInput input;
    std::vector<Seen> seen;
    for (std::size_t at = 0; at < bytes.size(); at += 100'000) {
        feed(input, std::string_view(bytes).substr(at, 100'000));
        EXPECT_LT(input.room().size(), 1'000'000U);
        std::ranges::move(take(input).value(), std::back_inserter(seen));
    }
    EXPECT_THAT(seen,
                ElementsAre(Seen{Kind::kOversized, static_cast<std::int64_t>(text.size()), ""},
                            Seen{Kind::kInteger, 7, "7"}));
}

TEST(RespInput, RefusesWhatIsNoResp) {
    for (const std::string_view bytes : {"HTTP/1.1 400 Bad Request\r\n", "$x\r\n", "*\r\n", ":1\n",
                                         "\n", "$1\r\nabc\r\n", "%a\r\n"}) {
        const auto parsed = parse(bytes);
        ASSERT_FALSE(parsed) << bytes;
        EXPECT_EQ(parsed.error().code, ErrorCode::kCorrupt);
    }
    EXPECT_FALSE(parse(std::string(100'000, 'x')));
}

TEST(RespInput, SurvivesAnyBytes) {
    SeededRandom random(7);
    constexpr std::string_view kAlphabet = "+-:$*_#,(!=%~>\r\n0123456789tfx";
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes;
        for (std::uint64_t left = random.below(40); left > 0; --left) {
            bytes += kAlphabet[random.below(kAlphabet.size())];
            bytes += random.below(4) == 0 ? "\r\n" : "";
        }
        std::ignore = parse(bytes);
    }
}

TEST(CommandWriter, WritesArgumentsOfAnyBytes) {
    std::string out;
    CommandWriter(out).command({"SET", "k", std::string_view("a\r\n\0", 4)});
    EXPECT_EQ(out, std::string("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\n\0\r\n", 30));
}

}  // namespace instep::redis
