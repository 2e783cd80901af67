#include "command.hpp"
#include "output.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <exception>

namespace {

instep::cli::ExitCode run(std::span<char* const> arguments) {
    using namespace instep::cli;
    const instep::SystemClock clock;
    instep::SystemRandom random;
    Output output;
    Context context{clock, random, output};
    CommandLine line(output);
    for (const auto add :
         {add_demo,     add_init,           add_check,   add_plan,     add_apply,  add_run,
          add_status,   add_tail,           add_explain, add_backfill, add_scans,  add_deadletters,
          add_pause,    add_resume,         add_replay,  add_verify,   add_repair, add_wait,
          add_contract, add_migrate_broker, add_version}) {
        add(line, context);
    }
    const ExitCode exit = line.run(arguments);
    if (std::ferror(stdout) != 0) {
        fmt::print(stderr, "instep: cannot write to stdout; is the disk full?\n");
        return ExitCode::kFailed;
    }
    return exit;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return static_cast<int>(run({argv + 1, argv + argc}));
    } catch (const std::exception& error) {
        fmt::print(stderr, "instep: {}\n", error.what());
    }
    return static_cast<int>(instep::cli::ExitCode::kFailed);
}
