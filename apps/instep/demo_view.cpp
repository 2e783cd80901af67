#include "demo_view.hpp"

#include "demo_directory.hpp"
#include "output.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <sys/ioctl.h>
#include <unistd.h>

namespace instep::cli {

namespace {

using namespace std::chrono_literals;

/// Lines of the picture and a few for the shell's own.
constexpr unsigned short kTerminalLinesMin = 20;

/// Counting rows takes at most this part of the time, as 1 in so many.
constexpr int kCountingShare = 20;

bool can_draw() {
    const char* terminal = std::getenv("TERM");
    winsize size{};
    const bool is_tall = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
                         (size.ws_row == 0 || size.ws_row >= kTerminalLinesMin);
    return ::isatty(STDOUT_FILENO) == 1 && terminal != nullptr &&
           std::string_view(terminal) != "dumb" && is_tall;
}

std::string shown_state(const ReplicaLook& replica, std::uint64_t start_rows) {
    if (replica.state == ReplicaState::kFilling && start_rows > 0) {
        return fmt::format("filling {} %",
                           std::min<std::uint64_t>(99, replica.filled_rows * 100 / start_rows));
    }
    return std::string(to_string(replica.state));
}

}  // namespace

std::string shown_delay(const std::optional<LatencyFigures>& figures,
                        double LatencyFigures::* figure) {
    if (!figures) {
        return "-";
    }
    const double ms = (*figures).*figure;
    return ms < 100      ? fmt::format("{:.1f} ms", ms)
           : ms < 10'000 ? fmt::format("{:.0f} ms", ms)
                         : fmt::format("{:.0f} s", ms / 1000);
}

DemoView::DemoView(DemoSystem& system, const LatencyProbe& probe, std::chrono::seconds length)
    : system_(system), probe_(probe), length_(length), draws_(can_draw()) {
    counts_.push_back({system.iam(), "users"});
    for (const DemoReplica& replica : system.replicas()) {
        counts_.push_back({*replica.connection, replica.definition.table});
    }
}

std::string DemoView::hints() const {
    const DemoFolder& folder = system_.folder();
    // As it was started: it may be in no directory of PATH.
    const std::string_view program = program_invocation_name;
    return fmt::format(
        "In another terminal:\n"
        "  {} \"update users set first_name = 'Countess' where username = '{}'\"\n"
        "  {} status {}\n"
        "  {} tail {}\n"
        "Ctrl-C ends it early, with the same proof.\n",
        system_.iam_shell(), kFirstUsername, program, fmt::join(folder.service_files(), " "),
        program, folder.file("iam.toml"));
}

void DemoView::begin() {
    if (!draws_) {
        system_.context().output.text(hints());
    }
}

Result<void> DemoView::show(const SystemLook& look, std::chrono::microseconds elapsed) {
    if (!draws_ && elapsed < next_line_) {
        return {};
    }
    INSTEP_TRY(count_rows());
    if (draws_) {
        return draw(look, elapsed);
    }
    print_line(look, elapsed);
    next_line_ = std::chrono::floor<std::chrono::seconds>(elapsed) + 1s;
    return {};
}

Result<void> DemoView::count_rows() {
    const Clock& clock = system_.context().clock;
    for (RowCount& count : counts_) {
        const auto start = clock.monotonic();
        if (start < count.next) {
            continue;
        }
        INSTEP_TRY_ASSIGN(auto row, count.connection.query(
                                        fmt::format("SELECT count(*) FROM {}", count.table), {}));
        INSTEP_TRY(row->next());
        count.rows = static_cast<std::uint64_t>(row->integer(0));
        count.next = start + (clock.monotonic() - start) * kCountingShare;
    }
    return {};
}

std::string DemoView::rows_table(const SystemLook& look) const {
    using enum Table::Align;
    Table table({{"SERVICE"},
                 {"TABLE"},
                 {"STATE"},
                 {"ROWS", kRight},
                 {"APPLIED", kRight},
                 {"LAG", kRight},
                 {"P50", kRight},
                 {"P99", kRight}});
    table.add_row({"iam", "users", "owner", grouped(counts_.front().rows), "", "", "", ""});
    for (std::size_t i = 0; i < look.replicas.size(); ++i) {
        const ReplicaLook& replica = look.replicas[i];
        const auto figures = probe_.of(i).figures();
        table.add_row({replica.name, std::string(counts_[i + 1].table),
                       shown_state(replica, system_.start_rows()), grouped(counts_[i + 1].rows),
                       grouped(replica.counts.applied), grouped(replica.lag),
                       shown_delay(figures, &LatencyFigures::p50),
                       shown_delay(figures, &LatencyFigures::p99)});
    }
    return table.str();
}

Result<void> DemoView::draw(const SystemLook& look, std::chrono::microseconds elapsed) {
    const Output& output = system_.context().output;
    INSTEP_TRY_ASSIGN(const std::string resource,
                      describe_resource(*system_.replicas().front().connection));
    const auto failures = system_.failures();
    std::string picture = fmt::format(
        "{} {} of {}\niam owns users; three services keep lookup_users in step with it.\n\n{}\n"
        "{} changes committed, {} published\n{}\n\nresources in data-owner, joined with "
        "lookup_users:\n  {}\n\n{}",
        output.styled(Style::kStrong, "instep demo"),
        rounded(std::min(elapsed, std::chrono::microseconds(length_))), rounded(length_),
        rows_table(look), grouped(look.committed), grouped(look.published),
        failures.empty() ? "" : output.styled(Style::kBad, printable(failures.front())), resource,
        hints());
    // A line that is too wide is cut by the terminal: wrapped, it would not be drawn over.
    std::string frame = "\x1B[?7l";
    if (lines_drawn_ > 0) {
        frame += fmt::format("\x1B[{}A\r", lines_drawn_);
    }
    lines_drawn_ = 0;
    for (const char c : picture) {
        frame += c == '\n' ? "\x1B[K\n" : std::string(1, c);
        lines_drawn_ += c == '\n' ? 1 : 0;
    }
    system_.context().output.text(frame + "\x1B[J\x1B[?7h");
    return {};
}

void DemoView::print_line(const SystemLook& look, std::chrono::microseconds elapsed) {
    std::string line = fmt::format("{:>4} s  committed {}  published {}",
                                   std::chrono::floor<std::chrono::seconds>(elapsed).count(),
                                   grouped(look.committed), grouped(look.published));
    for (std::size_t i = 0; i < look.replicas.size(); ++i) {
        const ReplicaLook& replica = look.replicas[i];
        line +=
            fmt::format(" | {} {} rows {} applied {} lag {} p50 {}", replica.name,
                        shown_state(replica, system_.start_rows()), grouped(counts_[i + 1].rows),
                        grouped(replica.counts.applied), grouped(replica.lag),
                        shown_delay(probe_.of(i).figures(), &LatencyFigures::p50));
    }
    system_.context().output.line(line);
    for (const std::string& failure : system_.failures()) {
        system_.context().output.message(printable(failure));
    }
}

void DemoView::end() {
    if (lines_drawn_ > 0) {
        system_.context().output.text(fmt::format("\x1B[{}A\r\x1B[J", lines_drawn_));
        lines_drawn_ = 0;
    }
}

}  // namespace instep::cli
