#include "instep/config/service_file.hpp"

namespace instep {

namespace {

constexpr std::int64_t kDay = 24 * 60 * 60;
constexpr std::int64_t kTenYears = 3650 * kDay;

constexpr Setting kSettings[] = {
    {.table = "service",
     .key = "name",
     .type = "text",
     .required = true,
     .description = "What the service is called: the first part of its topics and the `source` of "
                    "its events. Lower-case letters, digits, `-` and `_`."},
    {.table = "service",
     .key = "database",
     .type = "text",
     .required = true,
     .description = "URL of the service's own database: `sqlite:PATH` or `postgresql://…`."},
    {.table = "service",
     .key = "database_file",
     .type = "text",
     .description = "A file that holds the URL, instead of `database`: for one with a password."},
    {.table = "service",
     .key = "broker",
     .type = "text",
     .default_value = "\"direct:\"",
     .description = "URL of the broker that all services share: `embedded:PATH`, `redis://…`, "
                    "`amqp://…` or `kafka://…` ([what each can do](brokers.md)). Or `direct:`, "
                    "without a broker: whoever follows this service reads its log, and this "
                    "service those of the services that it follows, which must be in the same "
                    "command or be named by their files: `direct:iam.toml,shop.toml`."},
    {.table = "service",
     .key = "broker_file",
     .type = "text",
     .description = "A file that holds the URL, instead of `broker`: for one with a password."},
    {.table = "service",
     .key = "partitions",
     .type = "integer",
     .default_value = "1",
     .minimum = 1,
     .maximum = 64,
     .description = "Parts that the log and the service's topics are divided into. Each has a "
                    "relay of its own. Cannot be changed once the service has run."},
    {.table = "service",
     .key = "capture",
     .type = "text",
     .default_value = "\"triggers\"",
     .description = "Who takes changes of published tables: `triggers`, or, on PostgreSQL and with "
                    "one partition, `wal`, the server's write-ahead log, which costs writers "
                    "nothing."},
    {.table = "service",
     .key = "wal_budget_mib",
     .type = "integer",
     .default_value = "4096",
     .minimum = 16,
     .maximum = 1024 * 1024 * 1024,
     .description = "With `capture = \"wal\"`: how many MiB of its log the server may keep for a "
                    "relay that has not read it. Beyond it the slot is dropped and replicas are "
                    "filled again; half and four fifths of it are logged."},
    {.table = "service",
     .key = "scan_rows_per_second",
     .type = "integer",
     .default_value = "0",
     .minimum = 0,
     .maximum = 1'000'000'000,
     .description = "Rows that backfills, verifications and repairs read of a partition's tables "
                    "in a second; 0 for as many as they can. `instep scans` pauses single ones."},
    {.table = "service",
     .key = "log_retention",
     .type = "duration",
     .default_value = "\"24h\"",
     .minimum = 1,
     .maximum = kTenYears,
     .description = "How long an event stays in the log after it was relayed."},
    {.table = "service",
     .key = "broker_retention",
     .type = "duration",
     .default_value = "\"24h\"",
     .minimum = 1,
     .maximum = kTenYears,
     .description = "How long an event stays on an embedded broker after every subscription has "
                    "it."},
    {.table = "service",
     .key = "memory_retention",
     .type = "duration",
     .default_value = "\"7d\"",
     .minimum = 1,
     .maximum = kTenYears,
     .description = "How long it is remembered which events took effect, which rows were deleted, "
                    "and what came of replays, scans and verifications. At least `log_retention` "
                    "and `broker_retention` together, so that "
                    "no event comes back after it was forgotten."},
    {.table = "service",
     .key = "transactions",
     .type = "list of text",
     .default_value = "[]",
     .description = "Entities whose changes are published a second time, together and in commit "
                    "order, on the topic `<name>.transactions`: for replicas with `apply = "
                    "\"transaction\"`. Needs `partitions = 1`."},
    {.table = "service",
     .key = "contract",
     .type = "text",
     .description = "A file with the JSON Schema of the service's events ([contracts](contracts.md)"
                    "). What handlers publish is held to it, and refused where it differs. Events "
                    "of published tables are as their columns are, and are not looked at again."},
    {.table = "service",
     .key = "listen",
     .type = "text",
     .description = "An address and port, such as `127.0.0.1:9464`, where the process answers "
                    "`/metrics`, `/livez`, `/readyz` and `/healthz` over HTTP, without TLS or "
                    "login ([what they say](metrics.md)). Services in one process may share it. "
                    "Without it nothing listens."},
    {.table = "service",
     .key = "otlp",
     .type = "text",
     .description = "The URL of an OpenTelemetry collector, such as `http://127.0.0.1:4318`, that "
                    "gets spans of what is done for events with a trace context ([which](traces.md)"
                    "). Without it none are made."},
    {.table = "publish",
     .key = "table",
     .type = "text",
     .required = true,
     .description = "The table whose rows are published."},
    {.table = "publish",
     .key = "entity",
     .type = "text",
     .required = true,
     .description = "What a row is: `user` gives the events `user.created`, `user.updated` and "
                    "`user.deleted` on the topic `<name>.user`. Lower-case letters, digits and "
                    "`_`."},
    {.table = "publish",
     .key = "key",
     .type = "text or list of text",
     .default_value = "[\"id\"]",
     .description = "The columns of the table's primary key. Order is kept for each key."},
    {.table = "publish",
     .key = "columns",
     .type = "list of text",
     .required = true,
     .description = "The columns that leave the service; the key must be among them. Every other "
                    "column is private, also one that is added later."},
    {.table = "publish",
     .key = "personal",
     .type = "list of text",
     .default_value = "[]",
     .description = "Those of `columns` that are personal data."},
    {.table = "replica",
     .key = "topic",
     .type = "text",
     .required = true,
     .description = "What to follow: the owner's name, a dot and the entity, such as `iam.user`."},
    {.table = "replica",
     .key = "table",
     .type = "text",
     .required = true,
     .description = "The local table, which nobody else writes to. Created when the first rows "
                    "arrive if it does not exist. One that exists must be empty: rows of the "
                    "application are not replaced unless it has the column `instep_version`."},
    {.table = "replica",
     .key = "columns",
     .type = "list or table of text",
     .description = "The owner's columns to keep; the key must be among them. A table renames: "
                    "`{ id = \"user_id\" }` keeps the owner's `id` as `user_id`. Without it all "
                    "published columns are kept."},
    {.table = "replica",
     .key = "apply",
     .type = "text",
     .default_value = "\"key\"",
     .description = "What takes effect together: `key`, or `transaction`, whole transactions of "
                    "the owner, over all replicas of this owner that say so. Foreign keys between "
                    "them hold then. The owner must list their entities under `transactions`."},
    {.table = "subscription",
     .key = "name",
     .type = "text",
     .required = true,
     .description = "What the service's program calls it; brokers know it as `<service>.<name>`. "
                    "Lower-case letters, digits, `-` and `_`."},
    {.table = "subscription",
     .key = "topic",
     .type = "text",
     .required = true,
     .description = "What to read: the owner's name, a dot and the entity, such as `shop.order`. "
                    "May be a topic of the service itself."},
    {.table = "subscription",
     .key = "start",
     .type = "text",
     .default_value = "\"earliest\"",
     .description = "Where it begins when it is new: `earliest`, with what the broker still has, "
                    "or `latest`."},
    {.table = "subscription",
     .key = "attempts",
     .type = "integer",
     .default_value = "10",
     .minimum = 0,
     .maximum = 1'000'000,
     .description = "How often an event is tried before its key is a dead letter and waits for a "
                    "person; 0: without end."},
    {.table = "subscription",
     .key = "retry_first",
     .type = "duration",
     .default_value = "\"1s\"",
     .minimum = 1,
     .maximum = 86'400,
     .description = "The delay behind the first failure; it doubles from failure to failure."},
    {.table = "subscription",
     .key = "retry_max",
     .type = "duration",
     .default_value = "\"5m\"",
     .minimum = 1,
     .maximum = 2'592'000,
     .description = "The longest delay; at least `retry_first`."},
    {.table = "subscription",
     .key = "on_failure",
     .type = "text",
     .default_value = "\"block_key\"",
     .description =
         "What becomes of an event after its last attempt. `block_key`: its key waits for "
         "a person, other keys go on. `skip`: it is set aside and kept, and its key goes "
         "on; needs `attempts`. `stop_flow`: the subscription stands at it, already "
         "while it is tried again."},
    {.table = "subscription",
     .key = "on",
     .type = "list of tables",
     .description = "Other attempts, delays and policies for errors of some classes: "
                    "`[[subscription.on]]`, below."},
    {.table = "subscription",
     .key = "crashes",
     .type = "integer",
     .default_value = "3",
     .minimum = 0,
     .maximum = 1000,
     .description =
         "How often the process may end while it tries an event alone before the event is "
         "given up as after its last attempt; 0: without end."},
    {.table = "subscription",
     .key = "circuit_failures",
     .type = "integer",
     .default_value = "5",
     .minimum = 0,
     .maximum = 1'000'000,
     .description = "After so many `Verdict::unavailable` in a row no event is tried for a while, "
                    "then one at a time until one is answered; 0: events are tried all the time."},
    {.table = "subscription",
     .key = "circuit_open_for",
     .type = "duration",
     .default_value = "\"30s\"",
     .minimum = 1,
     .maximum = 86'400,
     .description = "How long that while is."},
    {.table = "subscription",
     .key = "rate_limit",
     .type = "integer",
     .default_value = "0",
     .minimum = 0,
     .maximum = 1'000'000,
     .description = "Events in a second, over all processes of the service together; 0: no limit."},
    {.table = "subscription",
     .key = "parked_keys_max",
     .type = "integer",
     .default_value = "100000",
     .minimum = 1,
     .maximum = 1'000'000'000,
     .description = "No new events are taken while so many keys are parked or events skipped."},
    {.table = "subscription",
     .key = "parked_mib_max",
     .type = "integer",
     .default_value = "1024",
     .minimum = 1,
     .maximum = 1024 * 1024,
     .description = "The same for the MiB of what is parked or skipped."},
    {.table = "subscription",
     .key = "slow_after",
     .type = "duration",
     .default_value = "\"10s\"",
     .minimum = 1,
     .maximum = 86'400,
     .description = "An event that takes the handler longer is logged and counted as slow."},
    {.table = "subscription.on",
     .key = "error",
     .type = "text or list of text",
     .required = true,
     .description = "The classes of errors that this is for, such as `timeout` ([which there "
                    "are](handlers.md#classes-of-errors))."},
    {.table = "subscription.on",
     .key = "attempts",
     .type = "integer",
     .minimum = 0,
     .maximum = 1'000'000,
     .description = "As that of the subscription, whose value it is if absent."},
    {.table = "subscription.on",
     .key = "retry_first",
     .type = "duration",
     .minimum = 1,
     .maximum = 86'400,
     .description = "The same."},
    {.table = "subscription.on",
     .key = "retry_max",
     .type = "duration",
     .minimum = 1,
     .maximum = 2'592'000,
     .description = "The same."},
    {.table = "subscription.on", .key = "on_failure", .type = "text", .description = "The same."},
};

}  // namespace

std::span<const Setting> settings() { return kSettings; }

}  // namespace instep
