#include "parked_json.hpp"

namespace instep::cli {

JsonObject to_json(const ParkedKey& parked) {
    JsonObject object;
    object.text("subscription", parked.subscription)
        .text("key", parked.key)
        .number("attempts", parked.attempts)
        .number("events", parked.events)
        .text("parked", format_time(parked.parked))
        .text("next_try", format_time(parked.next_try))
        .text("error_code", parked.error_code)
        .text("error_message", parked.error_message);
    for (const auto& [name, since] :
         {std::pair{"dead", parked.dead}, std::pair{"skipped", parked.skipped}}) {
        since ? object.text(name, format_time(*since)) : object.null(name);
    }
    return object;
}

std::string state_of(const ParkedKey& parked) {
    return parked.dead ? "dead" : parked.skipped ? "skipped" : "retried";
}

}  // namespace instep::cli
