#include "examine.hpp"

#include "instep/broker/kafka/broker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

namespace instep::kafka_broker {

namespace {

using Severity = BrokerFinding::Severity;

constexpr std::int64_t kMessageBytes = std::int64_t{kEventDataBytesMax} + (1 << 20);
constexpr std::int64_t kMinutesOfAWeek = 7 * 24 * 60;
constexpr std::int64_t kMsOfADay = 24 * 60 * 60 * 1000;

std::string value_of(const Settings& settings, std::string_view name) {
    const auto setting = settings.find(name);
    return setting == settings.end() ? "" : setting->second.value;
}

std::int64_t number_of(const Settings& settings, std::string_view name, std::int64_t otherwise) {
    const std::string text = value_of(settings, name);
    std::int64_t number = otherwise;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

std::string alter(std::string_view topic, std::string_view setting) {
    return fmt::format("kafka-configs.sh --alter --topic {} --add-config {}", topic, setting);
}

class Findings {
public:
    explicit Findings(std::string subject) : subject_(std::move(subject)) {}

    void add(Severity severity, std::string message, std::string fix) {
        all_.push_back({severity, subject_, std::move(message), std::move(fix)});
    }

    std::vector<BrokerFinding> take() { return std::move(all_); }

private:
    std::string subject_;
    std::vector<BrokerFinding> all_;
};

std::vector<BrokerFinding> examine_server(const Settings& settings) {
    Findings findings("server");
    if (value_of(settings, "auto.create.topics.enable") == "true") {
        findings.add(Severity::kWarning,
                     "any client makes topics by asking for them, with a number of partitions "
                     "that is not ours (auto.create.topics.enable=true)",
                     "set auto.create.topics.enable=false in server.properties");
    }
    if (value_of(settings, "unclean.leader.election.enable") == "true") {
        findings.add(Severity::kProblem,
                     "a copy that lags may become the leader and drop confirmed events "
                     "(unclean.leader.election.enable=true)",
                     "set unclean.leader.election.enable=false in server.properties");
    }
    const auto offsets = number_of(settings, "offsets.retention.minutes", kMinutesOfAWeek);
    if (offsets < kMinutesOfAWeek) {
        findings.add(Severity::kWarning,
                     fmt::format("a subscription without members is forgotten after {} minutes "
                                 "(offsets.retention.minutes); its replica is then filled again",
                                 offsets),
                     "set offsets.retention.minutes above the longest pause of a service");
    }
    if (number_of(settings, "offsets.topic.replication.factor", 3) < 2) {
        findings.add(Severity::kWarning,
                     "acknowledgements have one copy (offsets.topic.replication.factor=1): a lost "
                     "disk brings all events again",
                     "with three servers or more, set offsets.topic.replication.factor=3 before "
                     "the first start");
    }
    return findings.take();
}

void examine_copies(std::string_view topic, const TopicLayout& layout, const Settings& settings,
                    Findings& findings) {
    if (layout.leaderless > 0) {
        findings.add(Severity::kProblem,
                     fmt::format("{} of {} partitions have no leader: nothing can be published to "
                                 "them or read",
                                 layout.leaderless, layout.partitions),
                     "start the servers that hold them; kafka-topics.sh --describe "
                     "--unavailable-partitions names them");
    }
    if (layout.behind > 0) {
        findings.add(
            Severity::kWarning,
            fmt::format("{} of {} partitions miss copies", layout.behind, layout.partitions),
            "kafka-topics.sh --describe --under-replicated-partitions names them");
    }
    const auto insync = number_of(settings, "min.insync.replicas", 1);
    if (layout.replicas < 2) {
        findings.add(Severity::kWarning,
                     "its events have one copy: they are gone with that server's disk, and the "
                     "last of them in a power failure, since Kafka confirms before it syncs",
                     "give the broker URL the option replication=3, or add copies with "
                     "kafka-reassign-partitions.sh");
    } else if (insync < 2) {
        findings.add(Severity::kWarning,
                     "an event is confirmed with one copy when the others lag "
                     "(min.insync.replicas=1)",
                     alter(topic, "min.insync.replicas=2"));
    } else if (insync >= layout.replicas) {
        findings.add(Severity::kNote,
                     fmt::format("publishing stops when one of {} servers does "
                                 "(min.insync.replicas={})",
                                 layout.replicas, insync),
                     alter(topic, fmt::format("min.insync.replicas={}", layout.replicas - 1)));
    }
}

void examine_retention(std::string_view topic, Cleanup cleanup, const Settings& settings,
                       Findings& findings) {
    const std::string policy = value_of(settings, "cleanup.policy");
    const bool compacts = policy.find("compact") != std::string::npos;
    if (compacts != (cleanup == Cleanup::kCompact)) {
        findings.add(Severity::kWarning,
                     fmt::format("its cleanup.policy is {}, and the broker URL says {}", policy,
                                 compacts ? "delete" : "compact"),
                     compacts ? "give the broker URL the option cleanup=compact"
                              : alter(topic, "cleanup.policy=compact"));
    }
    if (policy.find("delete") == std::string::npos) {
        return;
    }
    if (const auto bytes = number_of(settings, "retention.bytes", -1); bytes >= 0) {
        findings.add(Severity::kWarning,
                     fmt::format("events are deleted above {} bytes a partition, acknowledged or "
                                 "not (retention.bytes)",
                                 bytes),
                     alter(topic, "retention.bytes=-1"));
    }
    const auto kept = number_of(settings, "retention.ms", -1);
    if (kept >= 0) {
        findings.add(kept < kMsOfADay ? Severity::kWarning : Severity::kNote,
                     fmt::format("events are deleted after {:.1f} days, acknowledged or not "
                                 "(retention.ms); a replica that is down for longer is filled "
                                 "again",
                                 static_cast<double>(kept) / kMsOfADay),
                     kept < kMsOfADay ? alter(topic, "retention.ms=604800000") : "");
    }
}

Result<std::vector<BrokerFinding>> examine_topic(const Cluster& cluster, Control& control,
                                                 const std::string& topic) {
    Findings findings(fmt::format("topic {}", topic));
    INSTEP_TRY_ASSIGN(const auto layout, control.find_topic(topic));
    if (!layout) {
        return findings.take();
    }
    const auto settings = control.settings_of(topic);
    if (!settings) {
        findings.add(Severity::kNote, settings.error().message,
                     "grant DESCRIBE_CONFIGS on the topic to have it checked");
        return findings.take();
    }
    examine_copies(topic, *layout, *settings, findings);
    examine_retention(topic, cluster.cleanup, *settings, findings);
    const auto bytes = number_of(*settings, "max.message.bytes", kMessageBytes);
    if (bytes < kMessageBytes) {
        findings.add(Severity::kWarning,
                     fmt::format("events above {} bytes are refused and stop their partition "
                                 "(max.message.bytes)",
                                 bytes),
                     alter(topic, fmt::format("max.message.bytes={}", kMessageBytes)));
    }
    return findings.take();
}

}  // namespace

bool is_ours(const CommittedOffset& committed) {
    return committed.metadata == kOurs && committed.of.topic != kKafkaMarkerTopic;
}

Result<std::vector<std::string>> subscribed_topics(Control& control) {
    INSTEP_TRY_ASSIGN(const auto names, control.list_groups());
    INSTEP_TRY_ASSIGN(const auto groups, control.committed_offsets(names));
    std::set<std::string> topics;
    for (const GroupOffsets& group : groups) {
        for (const CommittedOffset& committed : group.offsets) {
            if (is_ours(committed)) {
                topics.insert(committed.of.topic);
            }
        }
    }
    return std::vector<std::string>(topics.begin(), topics.end());
}

Result<std::vector<BrokerFinding>> examine_cluster(const Cluster& cluster, Control& control) {
    std::vector<BrokerFinding> findings;
    INSTEP_TRY_ASSIGN(const auto topics, subscribed_topics(control));
    const auto settings = control.settings_of("");
    if (settings) {
        std::ranges::move(examine_server(*settings), std::back_inserter(findings));
    } else if (settings.error().code == ErrorCode::kPermissionDenied) {
        findings.push_back({Severity::kNote, "server", settings.error().message,
                            "grant DESCRIBE_CONFIGS on the cluster to have it checked"});
    } else {
        return std::unexpected(settings.error());
    }
    for (const std::string& topic : topics) {
        INSTEP_TRY_ASSIGN(auto found, examine_topic(cluster, control, topic));
        std::ranges::move(found, std::back_inserter(findings));
    }
    return findings;
}

}  // namespace instep::kafka_broker
