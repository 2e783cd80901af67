// What auth says of a user: its publish contract, as C++.
#pragma once

#include "instep/event/payload.hpp"

#include <string>
#include <string_view>

namespace playball {

struct UserCreated {
    static constexpr std::string_view kType = "user.created";
    std::string id;
    std::string name;
};
INSTEP_FIELDS(UserCreated, id, name)

struct UserUpdated {
    static constexpr std::string_view kType = "user.updated";
    std::string id;
    std::string name;
};
INSTEP_FIELDS(UserUpdated, id, name)

/// Of a user that is gone there is only the key.
struct UserDeleted {
    static constexpr std::string_view kType = "user.deleted";
    std::string id;
};
INSTEP_FIELDS(UserDeleted, id)

}  // namespace playball
