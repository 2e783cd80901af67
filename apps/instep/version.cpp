#include "command.hpp"
#include "output.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

namespace instep::cli {

namespace {

struct BuildOption {
    std::string_view name;
    bool on;
};

#ifdef INSTEP_FAIL_POINTS
constexpr bool kFailPoints = true;
#else
constexpr bool kFailPoints = false;
#endif
#ifdef NDEBUG
constexpr bool kAssertions = false;
#else
constexpr bool kAssertions = true;
#endif

constexpr BuildOption kBuildOptions[] = {{"assertions", kAssertions}, {"fail_points", kFailPoints}};

Result<ExitCode> version(Context& context) {
    Output& output = context.output;
    JsonObject options;
    std::string shown;
    for (const auto& [name, on] : kBuildOptions) {
        options.flag(name, on);
        shown += fmt::format("{}{} {}", shown.empty() ? "" : ", ", name, on ? "on" : "off");
    }
    if (output.json()) {
        output.object(JsonObject("instep.version/1")
                          .text("version", INSTEP_VERSION)
                          .text("compiler", "g++ " __VERSION__)
                          .text("sqlite", ::sqlite3_libversion())
                          .object("build", options));
    } else {
        output.line("instep " INSTEP_VERSION);
        output.line(fmt::format("compiler  {}\nsqlite    {}\nbuild     {}", __VERSION__,
                                ::sqlite3_libversion(), shown));
    }
    return ExitCode::kOk;
}

}  // namespace

void add_version(CommandLine& line, Context& context) {
    Command command = line.command("version", "The version, and what it was built with");
    command.example("version --json");
    command.runs([&context] { return version(context); });
}

}  // namespace instep::cli
