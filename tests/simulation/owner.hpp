// The service that owns the tables which others hold replicas of.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace instep::simulation {

inline constexpr std::string_view kOwner = "iam";
inline constexpr std::string_view kRequestTopic = "iam.requests";

/// Followed key by key.
inline constexpr std::string_view kTopic = "iam.user";
inline constexpr std::string_view kTable = "users";

/// Tables whose changes are published whole too. Each but the last refers to the one behind it.
struct WholeTable {
    std::string_view name;
    std::string_view entity;
    std::string_view topic;
    std::span<const std::string_view> columns;
};

inline constexpr std::array<std::string_view, 3> kLineColumns = {"id", "order_id", "amount"};
inline constexpr std::array<std::string_view, 4> kOrderColumns = {"id", "customer_id", "number",
                                                                  "total"};
inline constexpr std::array<std::string_view, 2> kCustomerColumns = {"id", "owed"};
inline constexpr std::array<WholeTable, 3> kWholeTables = {{
    {"lines", "line", "iam.line", kLineColumns},
    {"orders", "order", "iam.order", kOrderColumns},
    {"customers", "customer", "iam.customer", kCustomerColumns},
}};

/// An amount that the group's table of lines refuses now and then.
inline constexpr std::int64_t kRefusedAmount = 1013;

}  // namespace instep::simulation
