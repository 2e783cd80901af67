// The user service: who is a customer.
#pragma once

#include "service_process.hpp"

namespace shop {

/// POST /users: {"user_id", "email"}; 409 if the id or the address is taken.
ServiceCode user_service();

}  // namespace shop
