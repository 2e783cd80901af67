// The guides do what they say: their files are written, their commands run in one shell, and
// every output compared with what the page shows.
#include "tests/support/postgres_server.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace instep::test {
namespace {

constexpr std::string_view kShownFolder = "/srv/shop";

/// A command as it is typed, and what the page shows below it.
struct Step {
    std::string command;
    std::string shown;
};

struct Guide {
    std::vector<std::pair<std::string, std::string>> files;
    std::vector<Step> steps;
};

/// ```toml begins with "# its name"; in ```console "$ " begins a command and "> " goes on.
Guide read_guide(const std::string& path) {
    Guide guide;
    std::ifstream page(path);
    std::string fence;
    for (std::string line; std::getline(page, line);) {
        if (line.starts_with("```")) {
            fence = fence.empty() ? line : "";
        } else if (fence == "```toml") {
            if (line.starts_with("# ")) {
                guide.files.emplace_back(line.substr(2), "");
            }
            guide.files.back().second += line + "\n";
        } else if (fence == "```console" && line.starts_with("$ ")) {
            guide.steps.push_back({line.substr(2) + "\n", ""});
        } else if (fence == "```console" && line.starts_with("> ")) {
            guide.steps.back().command += line.substr(2) + "\n";
        } else if (fence == "```console") {
            guide.steps.back().shown += line + "\n";
        }
    }
    return guide;
}

/// Processes have other names on every machine and in every run.
std::string without_holders(const std::string& text) {
    static const std::regex kHolder("[^ \n]+/[0-9]+/[0-9a-f]{8}");
    return std::regex_replace(text, kHolder, "HOLDER");
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size()) {
        text.replace(at, what.size(), with);
    }
    return text;
}

class GuideTest : public testing::Test {
protected:
    void given_environment(const std::vector<std::pair<std::string, std::string>>& variables) {
        environment_.insert(environment_.end(), variables.begin(), variables.end());
    }

    void expect_to_happen(const std::string& page) {
        const Guide guide = read_guide(INSTEP_SOURCE_DIR "/docs/guide/" + page);
        ASSERT_GT(guide.steps.size(), 20U);
        for (const auto& [name, text] : guide.files) {
            std::ofstream(folder_.file(name)) << text;
        }
        const std::vector<std::string> outputs = run(guide);
        ASSERT_EQ(outputs.size(), guide.steps.size()) << testing::PrintToString(outputs);
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            EXPECT_EQ(without_holders(outputs[i]), without_holders(guide.steps[i].shown))
                << guide.steps[i].command;
        }
    }

private:
    /// What each command printed. A shell of its own ends what runs in the background.
    std::vector<std::string> run(const Guide& guide) {
        std::string script = "exec 2>&1; set -m; trap 'kill $(jobs -p) 2> /dev/null' EXIT\n";
        for (const Step& step : guide.steps) {
            script += "echo @@@\n" + step.command;
        }
        ProcessOptions shell;
        shell.arguments = {"-c", script};
        shell.directory = folder_.path().string();
        const std::string programs = std::filesystem::path(INSTEP_PROGRAM).parent_path().string();
        shell.environment = environment_;
        shell.environment.emplace_back("PATH", fmt::format("{}:{}", programs, std::getenv("PATH")));
        std::string out = Process("/bin/bash", shell).wait(2 * kPatience).out;
        out = replaced(std::move(out), folder_.path().string(), kShownFolder);
        std::vector<std::string> outputs;
        constexpr std::string_view kMark = "@@@\n";
        for (std::size_t at = out.find(kMark); at != std::string::npos;) {
            const std::size_t begin = at + kMark.size();
            at = out.find(kMark, begin);
            outputs.push_back(out.substr(begin, at == std::string::npos ? at : at - begin));
        }
        return outputs;
    }

    TempDir folder_;
    std::vector<std::pair<std::string, std::string>> environment_{{"LC_ALL", "C.UTF-8"}};
};

TEST_F(GuideTest, YourOwnDatabaseShowsWhatHappens) { expect_to_happen("your-own-database.md"); }

TEST_F(GuideTest, YourOwnPostgresqlShowsWhatHappens) {
    const PostgresServer server;
    given_environment({{"PGHOST", "127.0.0.1"},
                       {"PGPORT", fmt::format("{}", server.port())},
                       {"PGUSER", "tester"},
                       {"PSQLRC", "/dev/null"}});
    expect_to_happen("your-own-postgresql.md");
}

}  // namespace
}  // namespace instep::test
