#include "instep/log/tail.hpp"

#include "command.hpp"
#include "instep/event/cloudevents.hpp"
#include "interrupt.hpp"
#include "output.hpp"
#include "services.hpp"

#include <fmt/format.h>

namespace instep::cli {

namespace {

struct TailOptions {
    std::string file;
    std::string topic;
    std::optional<std::uint64_t> count;
    bool from_start = false;
};

void show(Output& output, const TopicEvent& each) {
    constexpr std::size_t kDataBytesShown = 400;
    if (output.json()) {
        output.line(to_json(each.event));
        return;
    }
    const std::string_view data = each.event.data;
    output.line(fmt::format(
        "{}  {}  {}  {}  {}{}", output.styled(Style::kFaint, format_time(each.event.time)),
        printable(each.topic), output.styled(Style::kStrong, printable(each.event.type)),
        printable(each.event.key), printable(data.substr(0, kDataBytesShown)),
        data.size() > kDataBytesShown ? " …" : ""));
}

/// Events wanted; counts down to the end of the command.
class Remaining {
public:
    explicit Remaining(std::optional<std::uint64_t> count) : count_(count) {}
    [[nodiscard]] bool none() const { return count_ == 0U; }
    void take_one() {
        if (count_) {
            --*count_;
        }
    }

private:
    std::optional<std::uint64_t> count_;
};

Result<ExitCode> tail(Context& context, const TailOptions& options) {
    constexpr std::uint32_t kEventsAtOnce = 200;
    constexpr std::chrono::milliseconds kPause{100};
    INSTEP_TRY_ASSIGN(const auto configs, load_services(std::span(&options.file, 1)));
    INSTEP_TRY_ASSIGN(const auto opened, ServiceDatabase::open(configs[0], context.clock));
    const auto& connection = opened.connection;
    const Interrupt interrupt;
    std::uint64_t place = 0;
    if (!options.from_start) {
        INSTEP_TRY_ASSIGN(place, log_end(*connection));
    }
    Remaining remaining(options.count);
    while (!remaining.none() && !interrupt.requested()) {
        INSTEP_TRY_ASSIGN(const LogSlice slice,
                          read_log(*connection, configs[0].name, place, kEventsAtOnce));
        place = slice.end;
        for (const TopicEvent& each : slice.events) {
            if (!remaining.none() && (options.topic.empty() || each.topic == options.topic)) {
                show(context.output, each);
                remaining.take_one();
            }
        }
        if (slice.events.empty()) {
            interrupt.wait_for(kPause);
        }
    }
    return interrupt.requested() ? ExitCode::kInterrupted : ExitCode::kOk;
}

}  // namespace

void add_tail(CommandLine& line, Context& context) {
    const auto options = std::make_shared<TailOptions>();
    Command command = line.command("tail", "Print events of a service's log as they come");
    command.example("tail iam.toml");
    command.example("tail iam.toml --topic iam.user --json | jq .data");
    command.example("tail iam.toml --from-start --count 10");
    command.argument("FILE", options->file, "The service file");
    command.flag("--from-start", options->from_start, "Begin with the oldest event that is kept");
    command.option("--topic", options->topic, "Only events of this topic");
    command.option("--count", options->count, "End after so many events");
    command.runs([options, &context] { return tail(context, *options); });
}

}  // namespace instep::cli
