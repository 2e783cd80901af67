// The recommendation service, a program of its own that came years later: what is bought together,
// from all orders that the broker still has. No other service knows of it.
#include "events.hpp"
#include "service_process.hpp"
#include "verdicts.hpp"

namespace shop {

namespace {

using instep::HandlerContext;
using instep::Result;

Result<void> count_pairs(HandlerContext& context, const OrderCreated& order) {
    for (const OrderLine& line : order.lines) {
        for (const OrderLine& other : order.lines) {
            if (line.sku == other.sku) {
                continue;
            }
            INSTEP_TRY(context.transaction().execute(
                "INSERT INTO bought_together (sku, other, times) VALUES ($1, $2, 1) "
                "ON CONFLICT (sku, other) DO UPDATE SET times = bought_together.times + 1",
                {std::string_view(line.sku), std::string_view(other.sku)}));
        }
    }
    return {};
}

ServiceCode recommendation_service() {
    const auto handlers = [](const std::string&) {
        instep::Handlers all;
        all["pairs"].on<OrderCreated>([](HandlerContext& context, const OrderCreated& order) {
            return done_or_retry(count_pairs(context, order));
        });
        return all;
    };
    return {handlers,
            "SELECT sku, other, CAST(times AS text) FROM bought_together ORDER BY sku, other"};
}

}  // namespace
}  // namespace shop

int main(int count, char** words) {
    const shop::Services services = {{"recommendations", shop::recommendation_service()}};
    return shop::run_command(
        std::span(words, static_cast<std::size_t>(count)).subspan(1),
        {{"serve", [&](const shop::Arguments& given) { return shop::serve(given, services); }},
         {"show", [&](const shop::Arguments& given) { return shop::show(given, services); }}});
}
