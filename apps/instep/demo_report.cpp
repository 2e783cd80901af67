#include "demo_report.hpp"

#include "demo_directory.hpp"
#include "demo_view.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace instep::cli {

bool DemoResult::ok() const { return proof.differences() == 0 && look.published == look.committed; }

JsonObject to_json(const DemoResult& result) {
    std::vector<JsonObject> replicas;
    for (std::size_t i = 0; i < result.look.replicas.size(); ++i) {
        const ReplicaLook& look = result.look.replicas[i];
        replicas.push_back(JsonObject()
                               .text("name", look.name)
                               .count("rows", result.proof.replicas[i].content.rows)
                               .count("applied", look.counts.applied)
                               .count("duplicates_ignored", look.counts.duplicates_ignored)
                               .count("stale_ignored", look.counts.stale_ignored)
                               .count("differences", result.proof.differences(i)));
    }
    JsonObject summary("instep.demo/1");
    summary.real("seconds", std::chrono::duration<double>(result.ran).count())
        .count("committed", result.look.committed)
        .count("published", result.look.published)
        .objects("replicas", replicas);
    if (result.latency) {
        summary.object("latency_ms", JsonObject()
                                         .real("p50", result.latency->p50)
                                         .real("p99", result.latency->p99)
                                         .real("max", result.latency->max));
    } else {
        summary.null("latency_ms");
    }
    return summary.flag("ok", result.ok());
}

void show(Output& output, const DemoResult& result, const DemoSystem& system) {
    using enum Table::Align;
    Table table({{"REPLICA"},
                 {"ROWS", kRight},
                 {"APPLIED", kRight},
                 {"DUPLICATES", kRight},
                 {"STALE", kRight},
                 {"P50", kRight},
                 {"P99", kRight},
                 {"MAX", kRight},
                 {"DIFFERENCES", kRight}});
    for (std::size_t i = 0; i < result.look.replicas.size(); ++i) {
        const ReplicaLook& look = result.look.replicas[i];
        const auto& latency = result.replica_latency[i];
        table.add_row(
            {look.name, grouped(result.proof.replicas[i].content.rows),
             grouped(look.counts.applied), grouped(look.counts.duplicates_ignored),
             grouped(look.counts.stale_ignored), shown_delay(latency, &LatencyFigures::p50),
             shown_delay(latency, &LatencyFigures::p99), shown_delay(latency, &LatencyFigures::max),
             grouped(result.proof.differences(i))});
    }
    output.line("");
    output.table(table);
    output.line("");
    output.line(fmt::format("{} changes committed in {}, {} published.",
                            grouped(result.look.committed), rounded(result.ran),
                            grouped(result.look.published)));
    output.line(result.ok()
                    ? output.styled(Style::kGood, "All three replicas equal iam's users") +
                          fmt::format(": {} of {} columns, hash {:016x}.",
                                      counted(result.proof.users.rows, "row"),
                                      kPublishedColumnCount, result.proof.users.hash)
                    : output.styled(Style::kBad, "Not all replicas equal iam's users") +
                          fmt::format(": {}.", counted(result.proof.differences(), "difference")));
    output.line(result.resource);
    output.line(
        "Latency is from the commit in iam's database to the commit in a replica's, to 1 ms.");
    const DemoFolder& folder = system.folder();
    output.line(
        system.databases().stay()
            ? fmt::format("Everything stays in {}; to go on with it: instep run {}",
                          system.databases().are_on_server() ? "the databases" : folder.file(""),
                          fmt::join(folder.service_files(), " "))
            : std::string("The databases are gone again; --keep leaves them there."));
}

}  // namespace instep::cli
