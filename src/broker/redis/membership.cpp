#include "membership.hpp"

#include "instep/broker/checks.hpp"
#include "script.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace instep::redis {

namespace {

constexpr std::size_t kValuesEach = 5;

std::optional<std::uint64_t> parse_count(std::string_view text) {
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (text.empty() || error != std::errc{} || stop != end) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

Result<bool> Membership::refresh() {
    if (!is_due()) {
        return false;
    }
    INSTEP_TRY_ASSIGN(Connection * connection, link_.idle());
    const auto started = clock_.monotonic();
    const std::array names = {keys_.topic(), keys_.members(identity_.subscription),
                              keys_.holders(identity_.subscription), keys_.changes(),
                              keys_.subscriptions()};
    std::vector<std::string> arguments = {identity_.name, std::to_string(identity_.timeout.count()),
                                          identity_.subscription, keys_.stream_prefix()};
    for (const Held& held : held_) {
        arguments.push_back(std::to_string(held.partition));
        arguments.push_back(std::to_string(held.epoch));
        arguments.emplace_back(held.is_drained() ? "1" : "0");
    }
    INSTEP_TRY_ASSIGN(const Reply reply, connection->run(refresh_script(), names, arguments));
    INSTEP_TRY(adopt(reply));
    refreshed_ = started;
    alive_until_ = started + identity_.timeout;
    has_news_ = false;
    return true;
}

bool Membership::is_due() const {
    return has_news_ || !refreshed_ || clock_.monotonic() - *refreshed_ >= identity_.timeout / 3 ||
           std::ranges::any_of(held_, [](const Held& held) {
               return held.state == Held::State::kLeaving && held.is_drained();
           });
}

Result<void> Membership::adopt(const Reply& reply) {
    std::vector<Held> now;
    for (std::size_t i = 1; i + kValuesEach <= reply.items.size(); i += kValuesEach) {
        const auto partition = parse_count(reply.items[i].text);
        const auto epoch = parse_count(reply.items[i + 1].text);
        const std::string& state = reply.items[i + 2].text;
        if (!partition || !epoch) {
            return fail(
                ErrorCode::kCorrupt,
                fmt::format("{}: key {} is not what a member of {} makes it", endpoint_.display_url,
                            keys_.holders(identity_.subscription), identity_.subscription));
        }
        const Held* own = find(static_cast<std::uint32_t>(*partition));
        if (state != "taken" && own != nullptr) {
            now.push_back(*own);
            now.back().state = state == "leaving" ? Held::State::kLeaving : Held::State::kServing;
            continue;
        }
        const auto acknowledged = parse_entry_id(reply.items[i + 3].text);
        if (!acknowledged) {
            return fail(ErrorCode::kCorrupt,
                        fmt::format("{}: group {} of stream {} stands at {}, which no server's "
                                    "clock has made",
                                    endpoint_.display_url, identity_.subscription,
                                    keys_.stream(static_cast<std::uint32_t>(*partition)),
                                    reply.items[i + 3].text));
        }
        Held taken;
        taken.partition = static_cast<std::uint32_t>(*partition);
        taken.epoch = *epoch;
        taken.acknowledged = *acknowledged;
        taken.read = *acknowledged;
        taken.entries = parse_count(reply.items[i + 4].text);
        now.push_back(std::move(taken));
    }
    std::ranges::sort(now, {}, &Held::partition);
    held_ = std::move(now);
    change_ = reply.items.empty() ? change_ : reply.items.front().text;
    return {};
}

Result<void> Membership::leave() {
    INSTEP_TRY_ASSIGN(Connection * connection, link_.idle());
    const std::array names = {keys_.members(identity_.subscription),
                              keys_.holders(identity_.subscription), keys_.changes()};
    std::vector<std::string> arguments = {identity_.name, identity_.subscription};
    for (const Held& held : held_) {
        arguments.push_back(std::to_string(held.partition));
        arguments.push_back(holder(held));
    }
    INSTEP_TRY(connection->run(leave_script(), names, arguments));
    return {};
}

Result<void> Membership::acknowledge(std::uint32_t partition, Position position) {
    Held* held = find(partition);
    if (held == nullptr) {
        return not_held(partition);
    }
    if (position <= held->acknowledged) {
        return {};
    }
    if (position > held->read) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} was not delivered to {}", position,
                                partition, identity_.name));
    }
    const auto done = std::ranges::upper_bound(held->unacknowledged, position);
    std::optional<std::uint64_t> entries;
    if (held->entries) {
        entries = *held->entries + static_cast<std::uint64_t>(done - held->unacknowledged.begin());
    }
    INSTEP_TRY_ASSIGN(Connection * connection, link_.idle());
    const std::array names = {keys_.holders(identity_.subscription), keys_.stream(partition)};
    const std::array arguments = {std::to_string(partition), holder(*held), identity_.subscription,
                                  to_entry_id(position),
                                  entries ? std::to_string(*entries) : std::string()};
    INSTEP_TRY_ASSIGN(const Reply moved, connection->run(acknowledge_script(), names, arguments));
    if (moved.integer == 0) {
        return not_held(partition);
    }
    held->unacknowledged.erase(held->unacknowledged.begin(), done);
    held->acknowledged = position;
    held->entries = entries;
    return {};
}

Result<void> Membership::seek(std::uint32_t partition, Position position) {
    Held* held = find(partition);
    if (held == nullptr) {
        return not_held(partition);
    }
    if (position > std::max(held->read, held->acknowledged)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("position {} of partition {} was neither delivered nor "
                                "acknowledged",
                                position, partition));
    }
    INSTEP_TRY_ASSIGN(Connection * connection, link_.idle());
    INSTEP_TRY_ASSIGN(const Reply known,
                      connection->call({"HGET", keys_.holders(identity_.subscription),
                                        std::to_string(partition)}));
    if (known.text != holder(*held)) {
        return not_held(partition);
    }
    held->read = position;
    const auto again = std::ranges::upper_bound(held->unacknowledged, position);
    held->unacknowledged.erase(again, held->unacknowledged.end());
    return {};
}

Result<void> Membership::rewind(std::uint32_t partition, Position position) {
    Held* held = find(partition);
    if (held == nullptr) {
        return not_held(partition);
    }
    INSTEP_TRY(check_rewind({partition, held->acknowledged, held->read}, position));
    INSTEP_TRY_ASSIGN(Connection * connection, link_.idle());
    const std::array names = {keys_.holders(identity_.subscription), keys_.stream(partition)};
    const std::array arguments = {std::to_string(partition), holder(*held), identity_.subscription,
                                  to_entry_id(position), to_entry_id(position + 1)};
    INSTEP_TRY_ASSIGN(const Reply reply, connection->run(rewind_script(), names, arguments));
    const std::string_view answer = reply.text;
    if (answer == "lost") {
        return not_held(partition);
    }
    if (answer == "deleted") {
        return fail(ErrorCode::kNotFound,
                    fmt::format("events behind position {} in partition {} of topic {} have been "
                                "deleted",
                                position, partition, identity_.topic));
    }
    held->acknowledged = position;
    held->read = position;
    held->entries = parse_count(answer);
    held->unacknowledged.clear();
    return {};
}

Held* Membership::find(std::uint32_t partition) {
    const auto found = std::ranges::find(held_, partition, &Held::partition);
    return found == held_.end() ? nullptr : &*found;
}

std::string Membership::holder(const Held& held) const {
    return fmt::format("{} {}", held.epoch, identity_.name);
}

std::unexpected<Error> Membership::not_held(std::uint32_t partition) {
    std::erase_if(held_, [&](const Held& held) { return held.partition == partition; });
    return fail(ErrorCode::kFenced, fmt::format("partition {} of topic {} is no longer held by {}",
                                                partition, identity_.topic, identity_.name));
}

}  // namespace instep::redis
