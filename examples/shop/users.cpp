#include "users.hpp"

#include "events.hpp"

namespace shop {

using instep::Result;

namespace {

Result<void> register_user(const Request& request) {
    INSTEP_TRY_ASSIGN(const auto user, request.body<UserCreated>());
    INSTEP_TRY(request.transaction.execute(
        "INSERT INTO users (user_id, email) VALUES ($1, $2)",
        {std::string_view(user.user_id), std::string_view(user.email)}));
    return request.append(kUserTopic, user.user_id, user);
}

}  // namespace

ServiceCode user_service() {
    return {[](const std::string&) { return instep::Handlers{}; },
            "SELECT user_id, email FROM users ORDER BY user_id",
            [](const Arguments&) { return std::vector<RequestRoute>{{"/users", register_user}}; }};
}

}  // namespace shop
