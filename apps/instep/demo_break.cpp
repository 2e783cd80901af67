#include "demo_break.hpp"

#include "waiting.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace instep::cli {

namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kRows = 5000;
constexpr auto kPatience = 60s;

struct Kind {
    std::string_view name;
    Result<void> (*run)(Breakage&);
};

constexpr std::array kKinds = {
    Kind{"kill-relay", break_by_killing_the_relay}, Kind{"duplicate", break_by_duplicates},
    Kind{"poison", break_by_poison}, Kind{"stale-backfill", break_by_stale_backfill}};

JsonObject to_json(const ReplicaLook& replica) {
    return JsonObject()
        .text("name", replica.name)
        .count("applied", replica.counts.applied)
        .count("duplicates_ignored", replica.counts.duplicates_ignored)
        .count("stale_ignored", replica.counts.stale_ignored)
        .count("parked_keys", replica.parked_keys);
}

std::vector<JsonObject> to_json(const SystemLook& look) {
    std::vector<JsonObject> objects;
    std::ranges::transform(look.replicas, std::back_inserter(objects),
                           [](const ReplicaLook& replica) { return to_json(replica); });
    return objects;
}

std::string change_of(std::uint64_t before, std::uint64_t after) {
    return before == after ? grouped(after)
                           : fmt::format("{} -> {}", grouped(before), grouped(after));
}

}  // namespace

void Breakage::tell(std::string sentence) {
    Output& output = system_.context().output;
    if (!output.json()) {
        output.line(sentence);
    }
    story_.push_back(std::move(sentence));
}

void Breakage::promise(std::string text, bool kept) {
    promises_.push_back({std::move(text), kept});
}

Result<void> Breakage::note_before() {
    INSTEP_TRY_ASSIGN(before_, system_.look());
    return {};
}

Result<SystemLook> Breakage::wait_until(std::string_view what,
                                        const std::function<bool(const SystemLook&)>& done) {
    SystemLook look;
    INSTEP_TRY(cli::wait_until({.done = [&]() -> Result<bool> {
                                    INSTEP_TRY_ASSIGN(look, system_.look());
                                    return done(look);
                                },
                                .describe = [&] { return fmt::format("waiting until {}", what); }},
                               kPatience, interrupt_, system_.context().clock));
    return look;
}

Result<void> Breakage::publish_again(std::size_t events) {
    if (!recording_) {
        INSTEP_TRY_ASSIGN(
            recording_,
            TopicRecording::begin(system_.broker(), system_.replicas().front().definition.topic));
    }
    INSTEP_TRY(system_.stop(kOwner.front()));
    INSTEP_TRY_ASSIGN(auto lease, system_.iam().query(
                                      "SELECT epoch FROM instep_lease WHERE name = 'relay/0'", {}));
    INSTEP_TRY(lease->next());
    INSTEP_TRY(recording_->publish_last(events, static_cast<std::uint64_t>(lease->integer(0))));
    return system_.start(kOwner);
}

Result<void> Breakage::finish() {
    INSTEP_TRY_ASSIGN(proof_, prove(system_));
    if (recording_) {
        INSTEP_TRY(recording_->catch_up());
    }
    INSTEP_TRY_ASSIGN(after_, system_.look());
    promise("Everything that committed was published.", after_.published == after_.committed);
    promise("Every replica equals iam's users, row by row.", proof_.differences() == 0);
    return {};
}

bool Breakage::ok() const { return std::ranges::all_of(promises_, &Promise::kept); }

void Breakage::show() const {
    using enum Table::Align;
    Table table({{"REPLICA"},
                 {"ROWS", kRight},
                 {"APPLIED", kRight},
                 {"DUPLICATES", kRight},
                 {"STALE", kRight},
                 {"PARKED", kRight},
                 {"DIFFERENCES", kRight}});
    for (std::size_t i = 0; i < after_.replicas.size(); ++i) {
        const ReplicaLook& before = before_.replicas[i];
        const ReplicaLook& after = after_.replicas[i];
        table.add_row({after.name, grouped(proof_.replicas[i].content.rows),
                       change_of(before.counts.applied, after.counts.applied),
                       change_of(before.counts.duplicates_ignored, after.counts.duplicates_ignored),
                       change_of(before.counts.stale_ignored, after.counts.stale_ignored),
                       change_of(before.parked_keys, after.parked_keys),
                       grouped(proof_.differences(i))});
    }
    Output& output = system_.context().output;
    output.line("");
    output.table(table);
    output.line("");
    for (const Promise& promise : promises_) {
        output.line(promise.kept ? output.styled(Style::kGood, "kept    ") + promise.text
                                 : output.styled(Style::kBad, "BROKEN  ") + promise.text);
    }
}

JsonObject Breakage::to_json(std::string_view kind) const {
    std::vector<JsonObject> promises;
    std::ranges::transform(promises_, std::back_inserter(promises), [](const Promise& promise) {
        return JsonObject().text("promise", promise.text).flag("kept", promise.kept);
    });
    return JsonObject("instep.demo-break/1")
        .text("kind", kind)
        .texts("story", story_)
        .objects("promises", promises)
        .objects("before", cli::to_json(before_))
        .objects("after", cli::to_json(after_))
        .count("differences", proof_.differences())
        .flag("ok", ok());
}

namespace {

struct BreakOptions {
    std::string kind;
    DemoPlace place;
};

Result<Kind> kind_named(std::string_view name) {
    const auto kind = std::ranges::find(kKinds, name, &Kind::name);
    if (kind == kKinds.end()) {
        std::vector<std::string_view> names;
        std::ranges::transform(kKinds, std::back_inserter(names), &Kind::name);
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("nothing is broken by \"{}\"; give one of {}", name,
                                fmt::join(names, ", ")));
    }
    return *kind;
}

Result<ExitCode> demo_break(Context& context, const BreakOptions& options) {
    INSTEP_TRY_ASSIGN(const Kind kind, kind_named(options.kind));
    INSTEP_TRY_ASSIGN(const auto system, DemoSystem::prepare(context, options.place, kRows));
    const Interrupt interrupt;
    Breakage breakage(*system, interrupt);
    INSTEP_TRY(kind.run(breakage));
    INSTEP_TRY(system->close());
    if (context.output.json()) {
        context.output.object(breakage.to_json(kind.name));
    } else {
        breakage.show();
    }
    return breakage.ok() ? ExitCode::kOk : ExitCode::kProblemFound;
}

}  // namespace

void add_demo_break(Command& demo, Context& context) {
    const auto options = std::make_shared<BreakOptions>();
    Command command = demo.subcommand("break", "Break the demo on purpose, and see what holds");
    command.example("demo break kill-relay");
    command.example("demo break poison --json");
    command.argument("KIND", options->kind, "kill-relay, duplicate, poison or stale-backfill");
    options->place.add_to(command);
    command.runs([options, &context] { return demo_break(context, *options); });
}

}  // namespace instep::cli
