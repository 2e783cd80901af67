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
     .description = "URL of the service's own database: `sqlite:PATH`."},
    {.table = "service",
     .key = "database_file",
     .type = "text",
     .description = "A file that holds the URL, instead of `database`: for one with a password."},
    {.table = "service",
     .key = "broker",
     .type = "text",
     .required = true,
     .description = "URL of the broker that all services share: `embedded:PATH`."},
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
     .description = "How long it is remembered which events took effect and which rows were "
                    "deleted. At least `log_retention` and `broker_retention` together, so that "
                    "no event comes back after it was forgotten."},
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
                    "arrive if it does not exist."},
    {.table = "replica",
     .key = "columns",
     .type = "list or table of text",
     .description = "The owner's columns to keep; the key must be among them. A table renames: "
                    "`{ id = \"user_id\" }` keeps the owner's `id` as `user_id`. Without it all "
                    "published columns are kept."},
};

}  // namespace

std::span<const Setting> settings() { return kSettings; }

}  // namespace instep
