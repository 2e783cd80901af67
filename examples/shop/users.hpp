// The user service: who is a customer.
#pragma once

#include "service_process.hpp"

namespace shop {

ServiceCode user_service();

/// --id ID --email ADDRESS. Errors: kRejected if the id is taken.
instep::Result<void> register_user(const Arguments& arguments);

}  // namespace shop
