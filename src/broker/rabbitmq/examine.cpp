#include "catalogue.hpp"
#include "control.hpp"
#include "leader.hpp"
#include "topology.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>
#include <string>

namespace instep::rabbitmq {

namespace {

using Severity = BrokerFinding::Severity;

/// The oldest series that the tests run on.
constexpr std::array<unsigned, 2> kVersionMin = {3, 10};

std::string server_property(Link& link, std::string_view name) {
    const amqp_table_t* properties = amqp_get_server_properties(link.handle());
    for (int i = 0; i < properties->num_entries; ++i) {
        const amqp_table_entry_t& entry = properties->entries[i];
        if (text_of(entry.key) == name && entry.value.kind == AMQP_FIELD_KIND_UTF8) {
            return std::string(text_of(entry.value.value.bytes));
        }
    }
    return {};
}

std::array<unsigned, 2> parse_version(std::string_view text) {
    std::array<unsigned, 2> version{};
    const auto major = std::from_chars(text.data(), text.data() + text.size(), version[0]);
    if (major.ptr != text.data() + text.size()) {
        std::from_chars(major.ptr + 1, text.data() + text.size(), version[1]);
    }
    return version;
}

class Examination {
public:
    Examination(Reconnect& reconnect, const Address& address)
        : reconnect_(reconnect), address_(address) {}

    Result<std::vector<BrokerFinding>> run() {
        INSTEP_TRY_ASSIGN(link_, reconnect_.link());
        look_at_server();
        INSTEP_TRY_ASSIGN(const Catalogue catalogue, read_catalogue(*link_));
        for (const auto& [topic, partitions] : catalogue.topics) {
            INSTEP_TRY(look_at_topic(topic, partitions));
        }
        for (const auto& [name, subscription] : catalogue.subscriptions) {
            const auto topic = catalogue.topics.find(subscription.topic);
            if (topic == catalogue.topics.end()) {
                add(Severity::kNote, fmt::format("subscription {}", name),
                    fmt::format("waits for topic {}, which nobody has made yet",
                                subscription.topic));
                continue;
            }
            if (!subscription.has_queues) {
                add(Severity::kWarning, fmt::format("subscription {}", name),
                    "has no queues yet: whoever made it did not get that far",
                    "start the service that reads it again");
                continue;
            }
            if (subscription.misses_events) {
                add(Severity::kProblem, fmt::format("subscription {}", name),
                    std::string(kMissesEvents), std::string(kFillAgain));
            }
            for (std::uint32_t partition = 0; partition < topic->second; ++partition) {
                INSTEP_TRY(look_at_queue(name, partition));
            }
        }
        INSTEP_TRY(look_at_leaders());
        // Last: a server in alarm reads nothing more from a connection that has published.
        look_at_alarms();
        return std::move(findings_);
    }

private:
    void add(Severity severity, std::string subject, std::string message, std::string fix = {}) {
        findings_.push_back({.severity = severity,
                             .subject = std::move(subject),
                             .message = std::move(message),
                             .fix = std::move(fix)});
    }

    void look_at_server() {
        const std::string product = server_property(*link_, "product");
        const std::string version = server_property(*link_, "version");
        if (product != "RabbitMQ") {
            add(Severity::kWarning, "server",
                fmt::format("calls itself \"{}\"; quorum queues and streams may be missing",
                            product),
                "use RabbitMQ");
        } else if (parse_version(version) < kVersionMin) {
            add(Severity::kWarning, "server",
                fmt::format("is RabbitMQ {}; nothing before {}.{} was tested", version,
                            kVersionMin[0], kVersionMin[1]),
                "update it");
        } else {
            add(Severity::kNote, "server", fmt::format("is RabbitMQ {}", version));
        }
        if (!address_.is_tls && address_.host != "localhost" && address_.host != "::1" &&
            !address_.host.starts_with("127.")) {
            add(Severity::kWarning, "connection", "password and events cross the network in clear",
                "use amqps://");
        }
        if (address_.queue_kind == QueueKind::kClassic) {
            add(Severity::kWarning, "queue=classic",
                "new queues are on one node; their events are lost with its disk",
                "leave the option out for quorum queues");
        }
    }

    void look_at_alarms() {
        // The server says so only to a connection that has published.
        amqp_basic_properties_t properties{};
        const auto sent = link_->publish(kControlChannel, "", kNowhere, properties, "");
        for (auto frame = link_->next_frame(kAlarmPatience); sent && frame && *frame;
             frame = link_->next_frame(kAlarmPatience)) {
            link_->release((*frame)->channel);
        }
        if (!link_->blocked().empty()) {
            add(Severity::kProblem, "alarm",
                fmt::format("the server takes no messages now: {}", link_->blocked()),
                "free disk or memory there: rabbitmq-diagnostics alarms");
        }
    }

    Result<void> look_at_topic(const std::string& topic, std::uint32_t partitions) {
        INSTEP_TRY(look_at_exchange(topic, topic));
        for (std::uint32_t partition = 0; partition < partitions; ++partition) {
            INSTEP_TRY(look_at_exchange(partition_exchange(topic, partition), topic));
        }
        return {};
    }

    Result<void> look_at_exchange(const std::string& exchange, const std::string& topic) {
        return look_at(fmt::format("exchange {}", exchange),
                       link_->inspect_exchange(kControlChannel, exchange),
                       "is missing: somebody deleted it",
                       fmt::format("start the service that publishes {} again", topic));
    }

    Result<void> look_at_queue(const std::string& subscription, std::uint32_t partition) {
        const std::string queue = queue_name(subscription, partition);
        const auto state = link_->inspect_queue(kControlChannel, queue);
        INSTEP_TRY(look_at(fmt::format("queue {}", queue),
                           state ? Result<void>{} : std::unexpected(state.error()), kQueueIsMissing,
                           kMakeQueueAnew));
        if (state && state->ready == 0 && state->consumers == 0) {
            silent_.push_back(queue);
        }
        if (state && state->consumers > 1) {
            add(Severity::kWarning, fmt::format("queue {}", queue),
                fmt::format("has {} consumers; a foreign one takes events away from Instep "
                            "when it gets its turn",
                            state->consumers),
                "let other programs bind queues of their own to the topic's exchange");
        }
        return {};
    }

    /// Queues that somebody reads, or that hold something, have answered for themselves.
    Result<void> look_at_leaders() {
        if (address_.queue_kind == QueueKind::kClassic) {
            return {};
        }
        for (const std::string& queue : silent_) {
            INSTEP_TRY_ASSIGN(const bool has_one, has_leader(reconnect_, queue));
            if (!has_one) {
                add(Severity::kProblem, fmt::format("queue {}", queue), std::string(kHasNoLeader),
                    fmt::format("start the nodes that hold it; if none is away, a killed server "
                                "has lost it: `rabbitmqctl delete_queue {}`, then {}",
                                queue, kMakeQueueAnew));
            }
        }
        INSTEP_TRY_ASSIGN(link_, reconnect_.link());
        return {};
    }

    Result<void> look_at(std::string subject, const Result<void>& seen, std::string_view missing,
                         std::string_view remake) {
        if (seen) {
            return {};
        }
        if (!link_->is_alive()) {
            return seen;
        }
        if (seen.error().code == ErrorCode::kNotFound) {
            add(Severity::kProblem, std::move(subject), std::string(missing), std::string(remake));
        } else {
            const bool is_refused = seen.error().code == ErrorCode::kPermissionDenied;
            add(Severity::kProblem, std::move(subject), seen.error().message,
                is_refused ? "give the user its rights: rabbitmqctl set_permissions" : "");
        }
        return {};
    }

    static constexpr std::string_view kNowhere = "instep.nowhere";
    static constexpr std::chrono::milliseconds kAlarmPatience{100};
    static constexpr std::string_view kHasNoLeader =
        "has no leader: nobody can read it, and the publisher waits for it";

    Reconnect& reconnect_;

    /// The live link of `reconnect_`.
    Link* link_ = nullptr;
    const Address& address_;
    std::vector<BrokerFinding> findings_;

    /// Queues that may be without a leader.
    std::vector<std::string> silent_;
};

}  // namespace

Result<std::vector<BrokerFinding>> examine_server(Reconnect& reconnect, const Address& address) {
    return Examination(reconnect, address).run();
}

}  // namespace instep::rabbitmq
