#include "command.hpp"
#include "instep/capture/contract.hpp"
#include "output.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <deque>
#include <limits>

namespace instep::cli {

namespace {

constexpr std::string_view kExitCodes =
    "Exit codes:\n"
    "    0  done                        5  not found\n"
    "    1  failed                      6  conflict\n"
    "    2  wrong usage                 7  done in part\n"
    "    3  service file invalid,       8  a check found a problem\n"
    "       or `instep apply` needed  124  not in time\n"
    "    4  cannot connect            130  interrupted\n";

class HelpFormatter final : public CLI::Formatter {
public:
    HelpFormatter() {
        column_width(28);
        label("Positionals", "Arguments");
        label("SUBCOMMAND", "COMMAND");
        label("OPTIONS", "OPTION...");
    }

    /// Their names say how many they are.
    std::string make_option_usage(const CLI::Option* positional) const override {
        return positional->get_name(true);
    }

    std::string make_option_opts(const CLI::Option* option) const override {
        return option->get_positional() || option->get_type_name().empty()
                   ? ""
                   : " " + option->get_type_name();
    }

    std::string make_help(const CLI::App* app, std::string name,
                          CLI::AppFormatMode mode) const override {
        std::string help = make_description(app);
        if (!app->get_footer().empty()) {
            help.append("\nExamples:\n").append(app->get_footer());
        }
        help.append("\n").append(make_usage(app, std::move(name)));
        help.append(make_positionals(app)).append(make_groups(app, mode));
        help.append(make_subcommands(app, mode));
        if (app->get_parent() == nullptr) {
            help.append("\n").append(kExitCodes);
        }
        return help;
    }
};

constexpr std::array<std::pair<std::string_view, std::int64_t>, 4> kUnits = {
    {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}}};

std::optional<std::chrono::milliseconds> parse_duration(const std::string& text) {
    constexpr std::int64_t kAmountMax = 1'000'000;
    std::int64_t amount = 0;
    const char* end = text.data() + text.size();
    const auto [unit, failed] = std::from_chars(text.data(), end, amount);
    if (failed != std::errc() || amount < 0 || amount > kAmountMax) {
        return std::nullopt;
    }
    for (const auto& [name, factor] : kUnits) {
        if (std::string_view(unit, end) == name) {
            return std::chrono::milliseconds(amount * factor);
        }
    }
    return std::nullopt;
}

std::string check_duration(const std::string& text) {
    return parse_duration(text)
               ? ""
               : fmt::format("takes a number with its unit, like 500ms, 30s, 5m or 2h, not \"{}\"",
                             text);
}

/// What every backend can count to.
constexpr std::uint64_t kNumberMax = std::numeric_limits<std::int64_t>::max();

std::optional<std::uint64_t> parse_number(const std::string& text) {
    std::uint64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, failed] = std::from_chars(text.data(), end, number);
    const bool is_number = failed == std::errc() && stop == end && number <= kNumberMax;
    return is_number ? std::optional(number) : std::nullopt;
}

std::string check_number(const std::string& text) {
    return parse_number(text) ? ""
                              : fmt::format("takes a whole number from 0 on, not \"{}\"", text);
}

std::string format_duration(std::chrono::milliseconds time) {
    for (std::size_t i = kUnits.size(); i-- > 0;) {
        if (time.count() % kUnits[i].second == 0) {
            return fmt::format("{}{}", time.count() / kUnits[i].second, kUnits[i].first);
        }
    }
    return fmt::format("{}ms", time.count());
}

CLI::Validator one_of(std::vector<std::string> choices) {
    return {[choices = std::move(choices)](const std::string& given) {
                return std::ranges::find(choices, given) != choices.end()
                           ? std::string()
                           : fmt::format("takes {}, not \"{}\"", fmt::join(choices, ", "), given);
            },
            ""};
}

std::string with_default(std::string_view help, const std::string& value) {
    return value.empty() ? std::string(help) : fmt::format("{} [{}]", help, value);
}

/// The deepest command that was named, whose parent may be a command too.
CLI::App* named_command(CLI::App& root) {
    CLI::App* app = &root;
    while (!app->get_subcommands().empty()) {
        app = app->get_subcommands().front();
    }
    return app;
}

std::vector<std::string> option_names(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) {
            names.push_back("--" + name);
        }
    }
    return names;
}

std::vector<std::string> command_names(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands({})) {
        names.push_back(command->get_name());
    }
    return names;
}

/// "instep demo break", for messages.
std::string path_of(CLI::App& root) {
    std::string path = root.get_name();
    for (CLI::App* app = &root; !app->get_subcommands().empty();) {
        app = app->get_subcommands().front();
        path.append(" ").append(app->get_name());
    }
    return path;
}

/// A word that nothing takes says more about a mistake than what is missing because of it.
std::string describe_mistake(CLI::App& root, const CLI::ParseError& error) {
    const CLI::App* app = named_command(root);
    const std::string name = path_of(root);
    const auto leftover = app->remaining();
    if (leftover.empty()) {
        return fmt::format("{}; see `{} --help`", error.what(), name);
    }
    const std::string& word = leftover.front();
    const bool is_option = word.starts_with('-');
    const auto known = is_option ? option_names(*app) : command_names(*app);
    const std::string_view noun = is_option ? "option" : (known.empty() ? "argument" : "command");
    const std::string nearest = nearest_name(word, known);
    return fmt::format("{} has no {} \"{}\"; {}", name, noun, word,
                       nearest.empty() ? fmt::format("see `{} --help`", name)
                                       : fmt::format("did you mean \"{}\"?", nearest));
}

void add_example(CLI::App& app, std::string_view line) {
    app.footer(fmt::format("{}  instep {}\n", app.get_footer(), line));
}

}  // namespace

struct Command::State {
    CommandLine::Impl& line;
    CLI::App& app;
    Action action;
};

class CommandLine::Impl {
public:
    explicit Impl(Output& output) : output_(output) {
        root_.formatter(std::make_shared<HelpFormatter>());
        declare_shared(root_);
        for (const char* line : {"demo", "init --name iam", "apply iam.toml data_owner.toml",
                                 "run iam.toml data_owner.toml"}) {
            add_example(root_, line);
        }
    }

    Command::State& add(CLI::App& parent, std::string_view name, std::string_view summary) {
        CLI::App& app = *parent.add_subcommand(std::string(name), std::string(summary));
        app.group("Commands");
        app.footer("");
        return commands_.emplace_back(Command::State{*this, app, {}});
    }

    CLI::App& root() { return root_; }

    void declare_shared(CLI::App& app) {
        app.require_subcommand(0, 1);
        app.set_help_flag("-h,--help", "This text");
        app.add_flag_callback(
            "--json", [this] { output_.set_format(Output::Format::kJson); },
            "One JSON object a line on stdout, for errors too");
        const auto set_color = [this](const std::string& when) {
            output_.set_color(when == "always"  ? Output::Color::kAlways
                              : when == "never" ? Output::Color::kNever
                                                : Output::Color::kAuto);
        };
        app.add_option_function<std::string>("--color", set_color, "Colours on stdout [auto]")
            ->check(one_of({"auto", "always", "never"}))
            ->type_name("auto|always|never");
    }

    ExitCode run(std::vector<std::string> words) {
        if (std::ranges::find(words, "--json") != words.end()) {
            output_.set_format(Output::Format::kJson);
        }
        if (!words.empty() && words.front() == "--version") {
            words.front() = "version";
        }
        try {
            std::ranges::reverse(words);
            root_.parse(std::move(words));
        } catch (const CLI::CallForHelp&) {
            output_.text(root_.help());
            return ExitCode::kOk;
        } catch (const CLI::ParseError& error) {
            return report({ErrorCode::kInvalidArgument, describe_mistake(root_, error)});
        }
        const Action* action = named_action();
        if (action == nullptr) {
            return report({ErrorCode::kInvalidArgument,
                           fmt::format("a command is missing; see `{} --help`", path_of(root_))});
        }
        const Result<ExitCode> exit = (*action)();
        return exit ? *exit : report(exit.error());
    }

private:
    const Action* named_action() {
        const CLI::App* app = named_command(root_);
        const auto found = std::ranges::find_if(
            commands_, [app](const Command::State& command) { return &command.app == app; });
        return found == commands_.end() || !found->action ? nullptr : &found->action;
    }

    ExitCode report(const Error& error) {
        const ExitCode exit = exit_code_of(error.code);
        output_.error(error, exit);
        return exit;
    }

    Output& output_;
    CLI::App root_{"Keeps services' data in step.", "instep"};
    std::deque<Command::State> commands_;
};

void Command::example(std::string_view line) { add_example(state_->app, line); }

void Command::argument(std::string_view name, std::string& value, std::string_view help) {
    state_->app.add_option(std::string(name), value, std::string(help))->required();
}

void Command::arguments(std::string_view name, std::vector<std::string>& values,
                        std::string_view help) {
    state_->app.add_option(std::string(name), values, std::string(help))->required();
}

void Command::option(std::string_view name, std::string& value, std::string_view help) {
    std::string placeholder(name.substr(name.find_first_not_of('-')));
    std::ranges::transform(placeholder, placeholder.begin(), [](char letter) {
        return static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    });
    state_->app.add_option(std::string(name), value, with_default(help, value))
        ->type_name(placeholder);
}

void Command::option(std::string_view name, std::optional<std::uint64_t>& value,
                     std::string_view help) {
    const auto store = [&value](const std::string& given) { value = parse_number(given); };
    state_->app
        .add_option_function<std::string>(std::string(name), store,
                                          with_default(help, value ? fmt::to_string(*value) : ""))
        ->check(CLI::Validator(check_number, ""))
        ->type_name("N");
}

void Command::option(std::string_view name, std::optional<std::chrono::milliseconds>& value,
                     std::string_view help) {
    const auto store = [&value](const std::string& given) { value = parse_duration(given); };
    state_->app
        .add_option_function<std::string>(std::string(name), store,
                                          with_default(help, value ? format_duration(*value) : ""))
        ->check(CLI::Validator(check_duration, ""))
        ->type_name("TIME");
}

void Command::choice(std::string_view name, std::string& value, std::vector<std::string> choices,
                     std::string_view help) {
    const std::string shown = fmt::format("{}", fmt::join(choices, "|"));
    state_->app.add_option(std::string(name), value, with_default(help, value))
        ->check(one_of(std::move(choices)))
        ->type_name(shown);
}

void Command::flag(std::string_view name, bool& value, std::string_view help) {
    state_->app.add_flag(std::string(name), value, std::string(help));
}

Command Command::subcommand(std::string_view name, std::string_view summary) {
    return Command(state_->line.add(state_->app, name, summary));
}

void Command::runs(Action action) {
    state_->action = std::move(action);
    state_->line.declare_shared(state_->app);
}

CommandLine::CommandLine(Output& output) : impl_(std::make_unique<Impl>(output)) {}
CommandLine::~CommandLine() = default;

Command CommandLine::command(std::string_view name, std::string_view summary) {
    return Command(impl_->add(impl_->root(), name, summary));
}

ExitCode CommandLine::run(std::span<char* const> arguments) {
    return impl_->run(std::vector<std::string>(arguments.begin(), arguments.end()));
}

}  // namespace instep::cli
