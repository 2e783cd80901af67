#include "tests/simulation/broker_kind.hpp"

#include <algorithm>

namespace instep::simulation {

std::string_view to_string(BrokerKind kind) {
    switch (kind) {
        case BrokerKind::kEmbedded:
            return "embedded";
        case BrokerKind::kRedis:
            return "redis";
        case BrokerKind::kAmqp:
            return "amqp";
        case BrokerKind::kKafka:
            return "kafka";
    }
    return "";
}

std::optional<BrokerKind> find_broker_kind(std::string_view name) {
    const auto* const found =
        std::ranges::find(kBrokerKinds, name, [](BrokerKind kind) { return to_string(kind); });
    return found == kBrokerKinds.end() ? std::nullopt : std::optional(*found);
}

}  // namespace instep::simulation
