// The order service: carts, orders, and what became of them.
#pragma once

#include "service_process.hpp"

namespace shop {

ServiceCode order_service();

/// --id ID --user ID --line SKU:QUANTITY:CENTS..., and --schema 1 to publish as order processes
/// did before version 2. Errors: kNotFound for a user without a cart; kRejected if the id is taken.
instep::Result<void> place_order(const Arguments& arguments);

/// --id ID. Errors: kConflict unless the order waits for it.
instep::Result<void> ship_order(const Arguments& arguments);

}  // namespace shop
