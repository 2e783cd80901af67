#include "examine.hpp"

#include "instep/event/event.hpp"
#include "names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace instep::redis {

namespace {

using Severity = BrokerFinding::Severity;
using Facts = std::map<std::string, std::string, std::less<>>;

std::uint64_t number(const Facts& facts, std::string_view name) {
    std::uint64_t value = 0;
    if (const auto fact = facts.find(name); fact != facts.end()) {
        std::from_chars(fact->second.data(), fact->second.data() + fact->second.size(), value);
    }
    return value;
}

std::string_view text(const Facts& facts, std::string_view name) {
    const auto fact = facts.find(name);
    return fact == facts.end() ? std::string_view() : std::string_view(fact->second);
}

/// The lines "name:value" of INFO.
Facts parse_info(std::string_view info) {
    Facts facts;
    while (!info.empty()) {
        std::string_view line = info.substr(0, info.find('\n'));
        info.remove_prefix(std::min(line.size() + 1, info.size()));
        if (line.ends_with('\r')) {
            line.remove_suffix(1);
        }
        if (const auto colon = line.find(':'); colon != std::string_view::npos) {
            facts.emplace(line.substr(0, colon), line.substr(colon + 1));
        }
    }
    return facts;
}

class Examination {
public:
    Examination(Connection& connection, const Endpoint& endpoint)
        : connection_(connection), endpoint_(endpoint) {}

    Result<std::vector<BrokerFinding>> run() {
        INSTEP_TRY(look_at_settings());
        INSTEP_TRY(look_at_state());
        INSTEP_TRY(look_at_rights());
        INSTEP_TRY(look_at_keys());
        return std::move(findings_);
    }

private:
    void add(Severity severity, std::string subject, std::string message, std::string fix = {}) {
        findings_.push_back({.severity = severity,
                             .subject = std::move(subject),
                             .message = std::move(message),
                             .fix = std::move(fix)});
    }

    /// True if the call failed only because a right is missing, which becomes a note.
    bool is_hidden(const Result<Reply>& reply, std::string_view command) {
        if (reply || reply.error().code != ErrorCode::kPermissionDenied) {
            return false;
        }
        add(Severity::kNote, std::string(command),
            fmt::format("the user may not run {}, so this part was not looked at", command),
            "give the user of a check the right: ACL SETUSER … +config|get +info");
        return true;
    }

    Result<void> look_at_settings() {
        const auto reply = connection_.call({"CONFIG", "GET", "appendonly", "appendfsync",
                                             "maxmemory", "maxmemory-policy", "proto-max-bulk-len",
                                             "min-replicas-to-write", "timeout"});
        if (is_hidden(reply, "CONFIG GET")) {
            return {};
        }
        INSTEP_TRY(reply);
        Facts settings;
        for (std::size_t i = 0; i + 1 < reply->items.size(); i += 2) {
            settings.emplace(reply->items[i].text, reply->items[i + 1].text);
        }
        judge_durability(settings);
        judge_memory(settings);
        if (number(settings, "proto-max-bulk-len") < kEventDataBytesMax) {
            add(Severity::kProblem, "proto-max-bulk-len",
                fmt::format("the server refuses texts longer than {} bytes; an event may have {}",
                            text(settings, "proto-max-bulk-len"), kEventDataBytesMax),
                "CONFIG SET proto-max-bulk-len 512mb, and the same in redis.conf");
        }
        return {};
    }

    void judge_durability(const Facts& settings) {
        if (text(settings, "appendonly") != "yes") {
            add(Severity::kProblem, "appendonly",
                "the append-only file is off: a restart of the server loses every event since its "
                "last snapshot, though publishers were told that they are durable",
                "CONFIG SET appendonly yes, and the same in redis.conf");
            return;
        }
        const std::string_view sync = text(settings, "appendfsync");
        if (sync == "no") {
            add(Severity::kProblem, "appendfsync",
                "the operating system decides when events reach the disk: a power failure loses up "
                "to half a minute of them",
                "CONFIG SET appendfsync always (or everysec), and the same in redis.conf");
        } else if (sync == "everysec") {
            add(Severity::kWarning, "appendfsync",
                "everysec: a power failure loses up to a second of confirmed events, of which "
                "replicas learn by verify and repair only; the end of the server's process alone "
                "loses nothing",
                "CONFIG SET appendfsync always, and the same in redis.conf, if that is too much");
        }
    }

    void judge_memory(const Facts& settings) {
        const std::string_view policy = text(settings, "maxmemory-policy");
        if (policy != "noeviction") {
            add(Severity::kProblem, "maxmemory-policy",
                fmt::format("{}: the server may delete streams and groups when its memory is full",
                            policy),
                "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf");
        }
        if (number(settings, "maxmemory") == 0) {
            add(Severity::kNote, "maxmemory",
                "no limit: events that no subscription takes fill the machine's memory",
                "CONFIG SET maxmemory 4gb, or what the machine can spare; publishers then wait "
                "for room");
        }
    }

    Result<void> look_at_state() {
        const auto reply = connection_.call({"INFO", "everything"});
        if (is_hidden(reply, "INFO")) {
            return {};
        }
        INSTEP_TRY(reply);
        const Facts facts = parse_info(reply->text);
        judge_disk(facts);
        const std::uint64_t used = number(facts, "used_memory");
        const std::uint64_t max = number(facts, "maxmemory");
        if (max != 0 && used > max / 10 * 9) {
            add(Severity::kWarning, "used_memory",
                fmt::format("{} of {} bytes are used; when nothing is left, nothing is published",
                            used, max),
                "raise maxmemory, or look for the subscription that lags: instep status");
        }
        const std::uint64_t replicas = number(facts, "connected_slaves");
        if (replicas < endpoint_.replicas) {
            add(Severity::kProblem, "replicas",
                fmt::format("the URL asks for {} replicas, {} are connected: nothing is published",
                            endpoint_.replicas, replicas),
                "bring the replicas up, or lower replicas= in the URL");
        } else if (replicas > 0 && endpoint_.replicas == 0) {
            add(Severity::kWarning, "replicas",
                fmt::format("{} replicas are connected, and a failover to one loses what had not "
                            "reached it",
                            replicas),
                "put ?replicas=1 into the URL to wait for one");
        }
        return {};
    }

    void judge_disk(const Facts& facts) {
        constexpr std::array kFailures = {
            std::pair{"aof_last_write_status", "the append-only file cannot be written"},
            std::pair{"aof_last_bgrewrite_status", "the append-only file could not be rewritten"},
            std::pair{"rdb_last_bgsave_status", "the last snapshot could not be written"}};
        for (const auto& [name, meaning] : kFailures) {
            if (text(facts, name) == "err") {
                add(Severity::kProblem, name, meaning,
                    "see the server's log; most often its disk is full");
            }
        }
    }

    /// Writing needs more than reading, and a check must not write.
    Result<void> look_at_rights() {
        INSTEP_TRY_ASSIGN(const Reply user, whoami());
        if (user.text.empty()) {
            return {};
        }
        const std::string key = TopicKeys(endpoint_.prefix, "topic").stream(0);
        std::vector<std::vector<std::string>> needed = {
            {"EVAL", "return 1", "1", key},
            {"XADD", key, "*", "a", "b"},
            {"XREAD", "STREAMS", key, "0"},
            {"XGROUP", "CREATE", key, "g", "$"},
            {"XTRIM", key, "MINID", "0"},
            {"ZADD", key, "0", "a"},
            {"HSET", key, "a", "b"},
            {"TIME"},
            {"WATCH", key},
        };
        if (endpoint_.notifies) {
            needed.push_back({"PUBLISH", key, "a"});
        }
        for (const auto& command : needed) {
            CommandWriter writer = connection_.write();
            writer.begin(3 + command.size());
            writer.argument("ACL");
            writer.argument("DRYRUN");
            writer.argument(user.text);
            for (const std::string& word : command) {
                writer.argument(word);
            }
            INSTEP_TRY(connection_.send());
            INSTEP_TRY_ASSIGN(const Reply may, connection_.read_reply());
            if (may.is_error()) {
                return {};
            }
            if (may.text != "OK") {
                add(Severity::kProblem, fmt::format("user {}", user.text),
                    fmt::format("{} on keys of \"{}:*\" is refused: {}", command.front(),
                                endpoint_.prefix, may.text),
                    fmt::format("ACL SETUSER {0} ~{1}:* {2}+@read +@write +@scripting "
                                "+@transaction +@connection +time +wait",
                                user.text, endpoint_.prefix,
                                endpoint_.notifies
                                    ? fmt::format("&{}:* +publish ", endpoint_.prefix)
                                    : ""));
            }
        }
        return {};
    }

    /// Empty if the user may not even ask that.
    Result<Reply> whoami() {
        auto reply = connection_.call({"ACL", "WHOAMI"});
        if (!reply && reply.error().code == ErrorCode::kPermissionDenied) {
            return Reply{};
        }
        return reply;
    }

    Result<void> look_at_keys() {
        const auto topics = connection_.call({"SMEMBERS", topics_key(endpoint_.prefix)});
        if (is_hidden(topics, "SMEMBERS")) {
            return {};
        }
        INSTEP_TRY(topics);
        for (const Reply& topic : topics->items) {
            INSTEP_TRY(look_at_topic(topic.text));
        }
        return {};
    }

    Result<void> look_at_topic(const std::string& topic) {
        const TopicKeys keys(endpoint_.prefix, topic);
        INSTEP_TRY_ASSIGN(const Reply count,
                          connection_.call({"HGET", keys.topic(), "partitions"}));
        std::uint32_t partitions = 0;
        std::from_chars(count.text.data(), count.text.data() + count.text.size(), partitions);
        INSTEP_TRY_ASSIGN(const Reply subscriptions,
                          connection_.call({"SMEMBERS", keys.subscriptions()}));
        for (std::uint32_t partition = 0; partition < partitions; ++partition) {
            INSTEP_TRY(look_at_stream(keys.stream(partition), subscriptions));
        }
        return {};
    }

    Result<void> look_at_stream(const std::string& stream, const Reply& subscriptions) {
        INSTEP_TRY_ASSIGN(const Reply type, connection_.call({"TYPE", stream}));
        if (type.text != "stream") {
            if (type.text != "none") {
                add(Severity::kProblem, fmt::format("key {}", stream),
                    fmt::format("it is a {} and should be a stream; nothing can be published",
                                type.text),
                    "another program uses it: give another prefix= in the URL");
            }
            return {};
        }
        INSTEP_TRY_ASSIGN(const Reply groups, connection_.call({"XINFO", "GROUPS", stream}));
        const auto is_ours = [&](const std::string& name) {
            return std::ranges::find(subscriptions.items, name, &Reply::text) !=
                   subscriptions.items.end();
        };
        for (const Reply& group : groups.items) {
            const std::string& name = group.at("name").text;
            if (!is_ours(name)) {
                add(Severity::kNote, fmt::format("group {} of {}", name, stream),
                    fmt::format("another program's: what it has not acknowledged stays in the "
                                "stream ({} pending, {} not read)",
                                group.at("pending").integer, group.at("lag").integer),
                    "XGROUP DESTROY, if nobody needs it any more");
            }
        }
        for (const Reply& subscription : subscriptions.items) {
            const bool exists = std::ranges::any_of(groups.items, [&](const Reply& group) {
                return group.at("name").text == subscription.text;
            });
            if (!exists) {
                add(Severity::kWarning, fmt::format("group {} of {}", subscription.text, stream),
                    "somebody deleted it; the subscription will get everything that the stream "
                    "has again");
            }
        }
        return {};
    }

    Connection& connection_;
    const Endpoint& endpoint_;
    std::vector<BrokerFinding> findings_;
};

}  // namespace

Result<std::vector<BrokerFinding>> examine(Connection& connection, const Endpoint& endpoint) {
    return Examination(connection, endpoint).run();
}

}  // namespace instep::redis
