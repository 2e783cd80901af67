#include "tests/simulation/planted_bugs.hpp"

namespace instep::simulation {

namespace {

PlantedBug bug_of(BrokerKind kind, BrokerBug bug, std::string_view name, std::string_view meaning) {
    return {
        .name = name, .meaning = meaning, .role = Role::kBroker, .broker_bug = bug, .broker = kind};
}

}  // namespace

std::vector<PlantedBug> broker_bugs() {
    using enum BrokerBug;
    using enum BrokerKind;
    return {
        bug_of(kRedis, kNewBeforePending, "redis_new_before_pending",
               "a new holder reads new entries before those that its predecessor left pending"),
        bug_of(kRedis, kPendingNotClaimed, "redis_pending_not_claimed",
               "what a predecessor left pending stays where it is"),
        bug_of(kRedis, kAcknowledgesOnReceive, "redis_noack",
               "entries are acknowledged when they are read"),
        bug_of(kRedis, kTrimsByLength, "redis_trims_by_length",
               "streams keep so many entries, whether or not the slowest group has them"),
        bug_of(kRedis, kFailoverLosesTail, "redis_failover_loses_tail",
               "a failover forgets confirmed entries that the replica had not got"),
        bug_of(kAmqp, kRequeuesAtTail, "amqp_requeues_at_tail",
               "unacknowledged deliveries go back to the tail of their queue"),
        bug_of(kAmqp, kAcknowledgesOnReceive, "amqp_auto_ack",
               "deliveries are acknowledged when they are sent"),
        bug_of(kAmqp, kConfirmCountsForAll, "amqp_confirm_counts_for_all",
               "one event's confirm is taken for that of all behind it"),
        bug_of(kAmqp, kUnroutableIsConfirmed, "amqp_unroutable_is_confirmed",
               "an event that reached no queue counts as published"),
        bug_of(kAmqp, kGapInBatch, "amqp_gap_in_batch",
               "an event is refused, and those behind it are delivered before it"),
        bug_of(kAmqp, kQueueMadeLate, "amqp_queue_made_late",
               "a subscription has no queue before its first member looks"),
        bug_of(kKafka, kAcknowledgesOnReceive, "kafka_auto_commit",
               "positions are committed before the effects"),
        bug_of(kKafka, kFormerHolderCommits, "kafka_former_holder_commits",
               "a member that loses a partition commits all that it has fetched"),
        bug_of(kKafka, kRetryIsOvertaken, "kafka_retry_is_overtaken",
               "what is sent again comes behind what was sent later"),
        bug_of(kKafka, kStartsAtEnd, "kafka_starts_at_end",
               "a partition without a committed position is read from its end"),
    };
}

}  // namespace instep::simulation
