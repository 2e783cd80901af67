// Which broker a run has, and what may be wrong with it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace instep::simulation {

enum class BrokerKind : std::uint8_t { kEmbedded, kRedis, kAmqp, kKafka };

inline constexpr std::array kBrokerKinds{BrokerKind::kEmbedded, BrokerKind::kRedis,
                                         BrokerKind::kAmqp, BrokerKind::kKafka};

std::string_view to_string(BrokerKind kind);

/// Nothing if there is none of this name.
std::optional<BrokerKind> find_broker_kind(std::string_view name);

/// What a simulated broker, or the client in front of it, does wrong.
enum class BrokerBug : std::uint8_t {
    kNone,

    /// What is delivered counts as acknowledged.
    kAcknowledgesOnReceive,

    // Redis-like.
    kNewBeforePending,
    kPendingNotClaimed,
    kTrimsByLength,
    kFailoverLosesTail,

    // AMQP-like.
    kRequeuesAtTail,
    kConfirmCountsForAll,
    kUnroutableIsConfirmed,
    kGapInBatch,
    kQueueMadeLate,

    // Kafka-like.
    kFormerHolderCommits,
    kRetryIsOvertaken,
    kStartsAtEnd,
};

struct SimBrokerOptions {
    bool fences_publishers = true;
    bool remembers_last_version = true;
    std::chrono::milliseconds visibility_delay{0};
    BrokerBug bug = BrokerBug::kNone;
};

}  // namespace instep::simulation
