#include "users.hpp"

#include "entrance.hpp"
#include "events.hpp"

namespace shop {

using instep::Result;

ServiceCode user_service() {
    return {[](const std::string&) { return instep::Handlers{}; },
            "SELECT user_id, email FROM users ORDER BY user_id"};
}

Result<void> register_user(const Arguments& arguments) {
    INSTEP_TRY_ASSIGN(const std::string id, arguments.require("id"));
    INSTEP_TRY_ASSIGN(const std::string email, arguments.require("email"));
    INSTEP_TRY_ASSIGN(Entrance request, Entrance::open(arguments));
    INSTEP_TRY(request.transaction().execute("INSERT INTO users (user_id, email) VALUES ($1, $2)",
                                             {std::string_view(id), std::string_view(email)}));
    INSTEP_TRY(request.append(kUserTopic, id, UserCreated{id, email}));
    return request.commit();
}

}  // namespace shop
