// The shop: its three services.
#include "notifications.hpp"
#include "orders.hpp"
#include "users.hpp"

int main(int count, char** words) {
    const shop::Services services = {{"users", shop::user_service()},
                                     {"orders", shop::order_service()},
                                     {"notifications", shop::notification_service()}};
    return shop::run_command(
        std::span(words, static_cast<std::size_t>(count)).subspan(1),
        {{"serve", [&](const shop::Arguments& given) { return shop::serve(given, services); }},
         {"show", [&](const shop::Arguments& given) { return shop::show(given, services); }}});
}
