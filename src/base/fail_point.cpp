#include "instep/base/fail_point.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <unistd.h>

namespace instep {

namespace {

constexpr std::string_view kNames[] = {
    "relay.after_lease",        "relay.after_read",       "relay.after_publish",
    "relay.after_confirm",      "consumer.after_receive", "consumer.after_handle",
    "consumer.before_commit",   "consumer.after_commit",  "consumer.after_acknowledge",
    "consumer.after_park",      "replica.after_upserts",  "replica.after_deletes",
    "replica.after_chunk_rows", "replica.after_strays",   "scan.after_read",
    "scan.before_advance",      "backfill.after_request", "log.after_append",
    "log.after_open",           "wal.after_start",        "wal.after_new_slot",
    "wal.after_chunk_read",     "wal.before_move",        "wal.after_move",
    "wal.after_acknowledge",    "wal.before_switch",      "move.after_subscribe",
    "move.after_prepare",       "move.after_publishing",  "move.after_moved",
};

struct Action {
    enum class Kind { kCrash, kError } kind;
    std::uint64_t hit;
};

[[noreturn]] void refuse(std::string_view item) {
    fmt::print(stderr,
               "INSTEP_FAIL: \"{}\" is not name=crash or name=error, with @hit from 1, each name "
               "once and a fail point of this build\n",
               item);
    std::abort();
}

std::uint64_t read_hit(std::string_view item, std::size_t at) {
    if (at == std::string_view::npos) {
        return 1;
    }
    std::uint64_t hit = 0;
    const char* end = item.data() + item.size();
    const auto [stop, error] = std::from_chars(item.data() + at + 1, end, hit);
    if (error != std::errc{} || stop != end || hit == 0) {
        refuse(item);
    }
    return hit;
}

/// Reads INSTEP_FAIL once; a mistake in it must not look like a test that passed.
std::map<std::string, Action, std::less<>> read_actions() {
    std::map<std::string, Action, std::less<>> actions;
    const char* setting = std::getenv("INSTEP_FAIL");
    std::string_view rest = setting == nullptr ? "" : setting;
    while (!rest.empty()) {
        const std::string_view item = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(item.size() + 1, rest.size()));
        const auto equals = std::min(item.find('='), item.size());
        const auto at = item.find('@', equals);
        const std::string_view name = item.substr(0, equals);
        const std::string_view kind = item.substr(equals, at - equals);
        const bool known = std::ranges::find(kNames, name) != std::end(kNames);
        if (!known || (kind != "=crash" && kind != "=error")) {
            refuse(item);
        }
        const auto action = kind == "=crash" ? Action::Kind::kCrash : Action::Kind::kError;
        if (!actions.emplace(name, Action{action, read_hit(item, at)}).second) {
            refuse(item);
        }
    }
    return actions;
}

}  // namespace

std::span<const std::string_view> fail_point_names() noexcept { return kNames; }

Result<void> reach_fail_point(std::string_view name) {
    static const auto actions = read_actions();
    static std::mutex mutex;
    static std::map<std::string, std::uint64_t, std::less<>> hits;
    const auto action = actions.find(name);
    if (action == actions.end()) {
        return {};
    }
    {
        const std::scoped_lock lock(mutex);
        if (++hits[std::string(name)] != action->second.hit) {
            return {};
        }
    }
    if (action->second.kind == Action::Kind::kCrash) {
        _exit(137);
    }
    return fail(ErrorCode::kUnavailable, fmt::format("fail point {} was told to fail", name));
}

}  // namespace instep
