// The demo's own tables and rows, as an application would have them: `users` in iam's database,
// and `resources` in data-owner's.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/db/connection.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace instep::cli {

/// Users that the writer leaves alone, so that a change made by hand, or by `demo break`, stays
/// to be seen: the first ones.
inline constexpr std::uint64_t kReservedUsers = 2;
inline constexpr std::string_view kFirstUsername = "ada.lovelace";

/// What `users` publishes, in the order of iam.toml.
inline constexpr std::string_view kPublishedColumns =
    "id, employee_id, employee_code, national_id, username, title, first_name, last_name, email, "
    "phone, department_id, position, employee_type, profile_image_url, gender, is_active, "
    "created_at, updated_at, is_deleted";
inline constexpr std::size_t kPublishedColumnCount = 19;

/// What the user of this number has, and nobody else. Codes sort as numbers do.
std::string employee_code(std::uint64_t number);

/// Makes users. Every number is another user.
class UserInserter {
public:
    /// Both must outlive the inserter.
    UserInserter(const Clock& clock, Random& random) : clock_(clock), random_(random) {}

    /// Returns the id.
    Result<std::string> insert(Transaction& transaction, std::uint64_t number,
                               std::string_view now);

private:
    const Clock& clock_;
    Random& random_;
};

/// Creates `users` and fills it with `rows` users, numbered from 0, in transactions of a
/// thousand; after each, `tell` gets how many there are.
Result<void> make_users(Connection& connection, std::uint64_t rows, const Clock& clock,
                        Random& random, const std::function<void(std::uint64_t)>& tell);

/// Creates `resources`, made and changed by some of the first users of `iam`.
Result<void> make_resources(Connection& data_owner, Connection& iam, const Clock& clock,
                            Random& random);

/// One row of `resources` joined with `lookup_users`, in words; it was made by the first user.
Result<std::string> describe_resource(Connection& data_owner);

}  // namespace instep::cli
