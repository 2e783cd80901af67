// The order service: carts, orders, and what became of them.
#pragma once

#include "service_process.hpp"

namespace shop {

/// POST /orders: {"order_id", "user_id", "lines": [{"sku", "quantity", "price_cents"}]}; 404 for a
/// user without a cart, 409 if the id is taken. With `serve --schema 1` it publishes as order
/// processes did before version 2.
///
/// POST /shipments: {"order_id"}; 409 unless the order waits for it.
ServiceCode order_service();

}  // namespace shop
