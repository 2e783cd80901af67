#include "instep/config/service_file.hpp"
#include "table_reader.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace instep {
namespace {

const std::string kPage = INSTEP_DOCS_DIR "/reference/service-file.md";

std::string read_page() {
    std::ifstream file(kPage);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::string bounds_of(const Setting& setting) {
    if (setting.maximum == 0) {
        return "";
    }
    const auto show = [&](std::int64_t bound) {
        return setting.type == "duration" ? format_duration(std::chrono::seconds{bound})
                                          : fmt::format("{}", bound);
    };
    return fmt::format(", {} to {}", show(setting.minimum), show(setting.maximum));
}

std::string default_of(const Setting& setting) {
    if (setting.required) {
        return "required";
    }
    return setting.default_value.empty() ? "" : fmt::format("`{}`", setting.default_value);
}

std::string rows_of(std::string_view table) {
    std::string rows = "| setting | type | default | meaning |\n|---|---|---|---|\n";
    for (const Setting& setting : settings()) {
        if (setting.table == table) {
            rows += fmt::format("| `{}` | {}{} | {} | {} |\n", setting.key, setting.type,
                                bounds_of(setting), default_of(setting), setting.description);
        }
    }
    return rows;
}

/// The page with the settings of each table between its two marks.
std::string with_settings(std::string page) {
    for (const std::string_view table :
         {"service", "publish", "replica", "subscription", "subscription.on"}) {
        const std::string begin = fmt::format("<!-- settings of {} -->\n", table);
        const std::size_t first = page.find(begin);
        const std::size_t last = page.find("<!-- end -->", first);
        if (last != std::string::npos) {
            page.replace(first + begin.size(), last - first - begin.size(), rows_of(table));
        }
    }
    return page;
}

TEST(SettingsTest, ReferencePageSaysWhatTheTableSays) {
    const std::string page = read_page();
    const std::string wanted = with_settings(page);
    for (const Setting& setting : settings()) {
        EXPECT_TRUE(wanted.contains(setting.description)) << setting.key;
    }
    if (std::getenv("INSTEP_UPDATE_GOLDEN") != nullptr) {
        std::ofstream(kPage) << wanted;
        return;
    }
    EXPECT_EQ(page, wanted) << "run this test with INSTEP_UPDATE_GOLDEN=1 to rewrite the page";
}

TEST(SettingsTest, ExamplesOfTheReferencePageAreSound) {
    const std::string page = read_page();
    std::size_t examples = 0;
    for (std::size_t begin = page.find("```toml\n"); begin != std::string::npos; ++examples) {
        begin += std::string_view("```toml\n").size();
        const std::size_t end = page.find("```", begin);
        const auto config = parse_service_file(page.substr(begin, end - begin), "example.toml",
                                               [](const std::string&) { return "value"; });
        EXPECT_TRUE(config) << config.error().message;
        begin = page.find("```toml\n", end);
    }
    EXPECT_GE(examples, 2U);
}

}  // namespace
}  // namespace instep
