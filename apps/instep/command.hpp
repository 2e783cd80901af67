// A subcommand declares itself here: its arguments, its examples and what it runs. Parsing,
// help, --json, --color and exit codes are the same for all of them.
#pragma once

#include "exit_code.hpp"
#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep::cli {

class Output;

/// What every command may use. Outlives the commands.
struct Context {
    const Clock& clock;
    Random& random;
    Output& output;
};

/// What a command does. An error is printed, and becomes the exit code that goes with it.
using Action = std::function<Result<ExitCode>()>;

/// A command under declaration. Values are written to the variables given, which must live as
/// long as the command line, before the action runs; a copy of this object is the same command.
class Command {
public:
    /// A line of the help's first part, without "instep ".
    void example(std::string_view line);

    /// A positional that must be there.
    void argument(std::string_view name, std::string& value, std::string_view help);

    /// One or more positionals, the last ones of a command; `name` is "FILE...".
    void arguments(std::string_view name, std::vector<std::string>& values, std::string_view help);

    /// `name` is "--table"; `value` keeps what it holds when the option is not given.
    void option(std::string_view name, std::string& value, std::string_view help);
    void option(std::string_view name, std::optional<std::uint64_t>& value, std::string_view help);

    /// A number and its unit: "500ms", "30s", "5m", "2h".
    void option(std::string_view name, std::optional<std::chrono::milliseconds>& value,
                std::string_view help);

    /// One of `choices`.
    void choice(std::string_view name, std::string& value, std::vector<std::string> choices,
                std::string_view help);
    void flag(std::string_view name, bool& value, std::string_view help);

    /// A command below this one: `instep demo break`.
    Command subcommand(std::string_view name, std::string_view summary);

    /// Ends the declaration.
    void runs(Action action);

    struct State;

private:
    friend class CommandLine;
    explicit Command(State& state) : state_(&state) {}
    State* state_;
};

/// All commands of the program.
class CommandLine {
public:
    explicit CommandLine(Output& output);
    ~CommandLine();

    Command command(std::string_view name, std::string_view summary);

    /// Parses, runs the command named and prints its error. Returns the exit code.
    ExitCode run(std::span<char* const> arguments);

private:
    friend class Command;
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// Each is in the file of its name.
void add_apply(CommandLine& line, Context& context);
void add_backfill(CommandLine& line, Context& context);
void add_check(CommandLine& line, Context& context);
void add_contract(CommandLine& line, Context& context);
void add_deadletters(CommandLine& line, Context& context);
void add_demo(CommandLine& line, Context& context);
void add_explain(CommandLine& line, Context& context);
void add_init(CommandLine& line, Context& context);
void add_migrate_broker(CommandLine& line, Context& context);
void add_pause(CommandLine& line, Context& context);
void add_plan(CommandLine& line, Context& context);
void add_repair(CommandLine& line, Context& context);
void add_replay(CommandLine& line, Context& context);
void add_resume(CommandLine& line, Context& context);
void add_run(CommandLine& line, Context& context);
void add_scans(CommandLine& line, Context& context);
void add_status(CommandLine& line, Context& context);
void add_tail(CommandLine& line, Context& context);
void add_verify(CommandLine& line, Context& context);
void add_version(CommandLine& line, Context& context);
void add_wait(CommandLine& line, Context& context);

}  // namespace instep::cli
