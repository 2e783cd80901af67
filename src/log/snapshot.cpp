#include "instep/log/snapshot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace instep {

namespace {

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

/// The part before the separator, which is cut off the front of `text` with it.
std::string_view take(std::string_view& text, char separator) {
    const std::size_t end = std::min(text.find(separator), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return part;
}

std::unexpected<Error> unreadable(std::string_view text) {
    return fail(ErrorCode::kCorrupt, fmt::format("\"{}\" is no snapshot's state", text));
}

}  // namespace

bool Snapshot::sees(std::uint64_t xid) const {
    return xid < xmax && !std::ranges::binary_search(running, xid);
}

Result<Snapshot> parse_snapshot(std::string_view text) {
    Snapshot snapshot;
    snapshot.text = text;
    std::string_view rest = text;
    const auto xmin = number(take(rest, ':'));
    const auto xmax = number(take(rest, ':'));
    if (!xmin || !xmax) {
        return unreadable(text);
    }
    snapshot.xmax = *xmax;
    while (!rest.empty()) {
        const auto xid = number(take(rest, ','));
        if (!xid) {
            return unreadable(text);
        }
        snapshot.running.push_back(*xid);
    }
    return snapshot;
}

std::uint64_t Horizon::floor() const {
    std::uint64_t lowest = seq;
    for (const auto& [xid, mark] : waits) {
        lowest = std::min(lowest, mark);
    }
    return lowest;
}

std::uint64_t Horizon::floor_towards(const Snapshot& next) const {
    std::uint64_t lowest = seq;
    for (const auto& [xid, mark] : waits) {
        if (next.sees(xid)) {
            lowest = std::min(lowest, mark);
        }
    }
    return lowest;
}

Horizon Horizon::advance(Snapshot next, std::uint64_t next_seq) const {
    Horizon horizon{std::move(next), next_seq, {}};
    for (const std::uint64_t xid : horizon.snapshot.running) {
        const auto known = waits.find(xid);
        horizon.waits.emplace(xid, known == waits.end() ? seq : known->second);
    }
    return horizon;
}

std::string to_text(const std::map<std::uint64_t, std::uint64_t>& waits) {
    std::string text;
    for (const auto& [xid, mark] : waits) {
        text += fmt::format("{}{}:{}", text.empty() ? "" : ",", xid, mark);
    }
    return text;
}

Result<std::map<std::uint64_t, std::uint64_t>> parse_waits(std::string_view text) {
    std::map<std::uint64_t, std::uint64_t> waits;
    std::string_view rest = text;
    while (!rest.empty()) {
        std::string_view pair = take(rest, ',');
        const auto xid = number(take(pair, ':'));
        const auto mark = number(pair);
        if (!xid || !mark) {
            return unreadable(text);
        }
        waits.emplace(*xid, *mark);
    }
    return waits;
}

}  // namespace instep
