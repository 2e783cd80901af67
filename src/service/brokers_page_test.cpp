#include "instep/service/service.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace instep {
namespace {

constexpr const char* kPage = INSTEP_DOCS_DIR "/reference/brokers.md";
constexpr std::string_view kBegin = "<!-- what the brokers promise -->\n";
constexpr std::string_view kEnd = "<!-- end -->";

std::string_view yes(bool holds) { return holds ? "yes" : "no"; }

std::string row(std::string_view url, const BrokerFeatures& features) {
    return fmt::format("| `{}` | {} | {} | {} | {} | {} | {} | {} MiB |\n", url,
                       features.redelivers ? "at least once" : "at most once",
                       yes(features.fences_publishers), yes(features.remembers_last_version),
                       yes(features.replays), yes(features.rewinds != Rewinds::kNever),
                       yes(features.compacts), features.event_bytes_max >> 20U);
}

/// No server is asked for these.
std::string table() {
    const test::TempDir folder;
    const SystemClock clock;
    Brokers brokers(clock);
    std::string rows =
        "| broker | delivery | fences publishers | remembers the last version | starts in the past "
        "| goes back | keeps each key's newest | largest event |\n"
        "|---|---|---|---|---|---|---|---|\n";
    ServiceConfig direct;
    direct.name = "iam";
    direct.database = "sqlite:" + folder.file("iam.db");
    direct.broker = "direct:";
    rows += row("direct:", brokers.open(direct).value()->features());
    for (const auto& [shown, url] : std::initializer_list<std::pair<std::string, std::string>>{
             {"embedded:PATH", "embedded:" + folder.file("broker.db")},
             {"redis://…", "redis://127.0.0.1:1"},
             {"amqp://…", "amqp://127.0.0.1:1"},
             {"amqp://…?history=7d", "amqp://127.0.0.1:1?history=7d"},
             {"kafka://…", "kafka://127.0.0.1:1"},
             {"kafka://…?cleanup=compact", "kafka://127.0.0.1:1?cleanup=compact"}}) {
        const auto broker = brokers.open(url);
        EXPECT_TRUE(broker) << url;
        if (broker) {
            rows += row(shown, (*broker)->features());
        }
    }
    return rows;
}

TEST(BrokersPageTest, SaysWhatTheBackendsSay) {
    std::ifstream file(kPage);
    const std::string page{std::istreambuf_iterator<char>(file), {}};
    const std::size_t begin = page.find(kBegin);
    const std::size_t end = page.find(kEnd, begin);
    ASSERT_NE(end, std::string::npos) << kPage;
    std::string wanted = page;
    wanted.replace(begin + kBegin.size(), end - begin - kBegin.size(), table());
    if (std::getenv("INSTEP_UPDATE_GOLDEN") != nullptr) {
        std::ofstream(kPage) << wanted;
        return;
    }
    EXPECT_EQ(page, wanted) << "run this test with INSTEP_UPDATE_GOLDEN=1 to rewrite the page";
}

}  // namespace
}  // namespace instep
