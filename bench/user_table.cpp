#include "bench/user_table.hpp"

#include "bench/bench.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

namespace instep::bench {

PublishEntry user_entry() {
    return {"users",
            "user",
            {"id"},
            {"id", "employee_id", "employee_code", "national_id", "username", "title", "first_name",
             "last_name", "email", "phone", "department_id", "position", "employee_type",
             "profile_image_url", "gender", "is_active", "created_at", "updated_at", "is_deleted"},
            {}};
}

void create_user_table(Connection& connection, std::string_view table, std::string_view extra) {
    std::string columns;
    for (const std::string& column : user_entry().columns) {
        const bool flag = column.starts_with("is_");
        columns += fmt::format("{} {}{}, ", column, flag ? "INTEGER" : "TEXT",
                               column == "id" ? " NOT NULL PRIMARY KEY" : "");
    }
    must(connection.execute_script(
        fmt::format("CREATE TABLE {} ({}password_hash TEXT{})", table, columns, extra)));
}

namespace {

/// Texts of one row; the views of its parameters point into it.
struct User {
    std::vector<std::string> texts;
};

User make_user(std::int64_t number, std::int64_t round) {
    // Spread like UUIDs, but the same in every run.
    const std::uint64_t mixed = static_cast<std::uint64_t>(number) * 0x9E3779B97F4A7C15U;
    return {{fmt::format("{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}", mixed >> 32U,
                         (mixed >> 16U) & 0xFFFFU, mixed & 0xFFFU, (mixed >> 12U) & 0xFFFU, number),
             fmt::format("{:032x}", mixed), fmt::format("E{:07}", number),
             fmt::format("{:013}", number * 7), fmt::format("user.{}", number), "Dr",
             fmt::format("First{}", number % 997), fmt::format("Last{}", number % 9973),
             fmt::format("user.{}@company.example", number), fmt::format("+66 {:09}", number),
             fmt::format("{:032x}", mixed % 40), "Senior engineer, platform", "permanent",
             fmt::format("https://img.company.example/{}/portrait.png", number), "female",
             "2026-03-01T09:30:00Z", fmt::format("2026-03-01T09:30:00.{:06}Z", round)}};
}

void bind(const User& user, std::vector<ValueView>& values) {
    for (std::size_t i = 0; i < 15; ++i) {
        values.emplace_back(std::string_view(user.texts[i]));
    }
    values.emplace_back(std::int64_t{1});
    values.emplace_back(std::string_view(user.texts[15]));
    values.emplace_back(std::string_view(user.texts[16]));
    values.emplace_back(std::int64_t{0});
}

}  // namespace

namespace {

/// Upserts rows in transactions of `batch`; a text in `version` goes into the last column.
void upsert(Connection& connection, std::string_view table, std::vector<std::string> columns,
            std::optional<std::string> version, std::int64_t first, std::int64_t end,
            std::int64_t batch, std::int64_t round) {
    if (version) {
        columns.emplace_back("instep_version");
    }
    std::string assignments;
    std::string parameters;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        parameters += fmt::format("{}${}", i == 0 ? "" : ", ", i + 1);
        if (i > 0) {
            assignments +=
                fmt::format("{}{} = excluded.{}", i == 1 ? "" : ", ", columns[i], columns[i]);
        }
    }
    const std::string sql =
        fmt::format("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}", table,
                    fmt::join(columns, ", "), parameters, assignments);
    for (std::int64_t from = first; from < end; from += batch) {
        std::vector<User> users;
        for (std::int64_t i = from; i < std::min(from + batch, end); ++i) {
            users.push_back(make_user(i, round));
        }
        std::vector<ValueView> values;
        for (const User& user : users) {
            bind(user, values);
            if (version) {
                values.emplace_back(BlobView{*version});
            }
        }
        auto transaction = must(Transaction::begin(connection, TransactionMode::kWrite));
        must(transaction.execute_many(sql, {columns.size(), values}));
        must(transaction.commit());
    }
}

}  // namespace

void write_users(Connection& connection, std::string_view table, std::int64_t first,
                 std::int64_t end, std::int64_t batch, std::int64_t round) {
    upsert(connection, table, user_entry().columns, std::nullopt, first, end, batch, round);
}

void write_replica(Connection& connection, std::int64_t first, std::int64_t end, std::int64_t batch,
                   std::int64_t round) {
    upsert(connection, "lookup_users", user_entry().columns, std::string(16, '\1'), first, end,
           batch, round);
}

}  // namespace instep::bench
