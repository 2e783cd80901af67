#include "command.hpp"
#include "instep/config/service_file.hpp"
#include "output.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <system_error>
#include <unistd.h>

namespace instep::cli {

namespace {

struct InitOptions {
    std::string name = "my-service";
    std::string directory = ".";
};

/// A value to begin with, for settings that have no default.
struct Sample {
    std::string_view table;
    std::string_view key;
    std::string_view value;
};

constexpr std::array kSamples = {
    Sample{"service", "name", "\"{}\""},
    Sample{"service", "database", "\"sqlite:{}.db\""},
    Sample{"service", "broker", "\"embedded:broker.db\""},
    Sample{"publish", "table", "\"users\""},
    Sample{"publish", "entity", "\"user\""},
    Sample{"publish", "columns", "[\"id\", \"name\", \"email\"]"},
    Sample{"replica", "topic", "\"iam.user\""},
    Sample{"replica", "table", "\"lookup_users\""},
};

std::string value_of(const Setting& setting, const std::string& name) {
    for (const Sample& sample : kSamples) {
        if (sample.table == setting.table && sample.key == setting.key) {
            return fmt::format(fmt::runtime(sample.value), name);
        }
    }
    return std::string(setting.default_value);
}

/// `text` in comment lines of at most 80 columns.
std::string as_comment(std::string_view text) {
    constexpr std::size_t kColumns = 78;
    std::string lines;
    while (!text.empty()) {
        std::size_t end = text.size();
        if (end > kColumns) {
            const std::size_t space = text.rfind(' ', kColumns);
            end = space == std::string_view::npos ? kColumns : space;
        }
        lines += fmt::format("# {}\n", text.substr(0, end));
        text.remove_prefix(std::min(text.size(), end + 1));
    }
    return lines;
}

/// What a service needs to start is set; everything else is there to be uncommented.
std::string starter_file(const std::string& name) {
    std::string file = fmt::format(
        "# The service file of {}: `instep check {}.toml` says what it "
        "lacks.\n",
        name, name);
    std::string_view table;
    for (const Setting& setting : settings()) {
        if (setting.type == "list of tables") {
            continue;
        }
        const bool in_use = setting.table == "service" && setting.required;
        if (setting.table != table) {
            table = setting.table;
            file += table == "service" ? "\n[service]\n" : fmt::format("\n# [[{}]]\n", table);
        }
        file += fmt::format("\n{}", as_comment(setting.description));
        const std::string value = value_of(setting, name);
        if (!value.empty()) {
            file += fmt::format("{}{} = {}\n", in_use ? "" : "# ", setting.key, value);
        } else {
            file += fmt::format("# {} = …  ({})\n", setting.key, setting.type);
        }
    }
    return file;
}

Result<void> write_new_file(const std::string& path, std::string_view text) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0) {
        const int why = errno;
        if (why == EEXIST) {
            return fail(
                ErrorCode::kConflict,
                fmt::format("{} exists already; remove it, or give another --name or --dir", path));
        }
        return fail(
            why == ENOENT ? ErrorCode::kNotFound : ErrorCode::kPermissionDenied,
            fmt::format("cannot create {}: {}", path, std::generic_category().message(why)));
    }
    const auto written = ::write(file, text.data(), text.size());
    if (::close(file) != 0 || written != static_cast<ssize_t>(text.size())) {
        // A part of it would be in the way of the next attempt.
        ::unlink(path.c_str());
        return fail(ErrorCode::kStorageFull,
                    fmt::format("cannot write {}; is the disk full?", path));
    }
    return {};
}

Result<ExitCode> init(Context& context, const InitOptions& options) {
    const std::string text = starter_file(options.name);
    const std::string path = (std::filesystem::path(options.directory) / (options.name + ".toml"))
                                 .lexically_normal()
                                 .string();
    if (!parse_service_file(text, path, process_environment())) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("\"{}\" cannot be a service's name: lower-case letters, digits, `-` "
                        "and `_`",
                        options.name));
    }
    INSTEP_TRY(write_new_file(path, text));
    if (context.output.json()) {
        context.output.object(
            JsonObject("instep.init/1").text("file", path).text("service", options.name));
    } else {
        context.output.line(
            fmt::format("wrote {}; fill in what it publishes, then: instep check {}", path, path));
    }
    return ExitCode::kOk;
}

}  // namespace

void add_init(CommandLine& line, Context& context) {
    const auto options = std::make_shared<InitOptions>();
    Command command = line.command("init", "Write a service file to start from");
    command.example("init --name iam");
    command.example("init --name data-owner --dir services");
    command.option("--name", options->name, "The service's name, and the file's");
    command.option("--dir", options->directory, "The folder of the file");
    command.runs([options, &context] { return init(context, *options); });
}

}  // namespace instep::cli
