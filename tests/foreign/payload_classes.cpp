#include "tests/foreign/payload_classes.hpp"

#include <utility>

namespace instep::test {

namespace {

using namespace std::chrono_literals;

Event new_event(std::string payload_class, std::string content_type, std::string data) {
    Event event;
    event.id = std::move(payload_class);
    event.source = "iam";
    event.type = "user.updated";
    event.key = "u7";
    event.time = Timestamp(1'700'000'000'123ms);
    event.version = {.epoch = 1, .batch = 42, .index = 3};
    event.incarnation = 0x0123456789ABCDEF;
    event.operation = Operation::kUpsert;
    event.content_type = std::move(content_type);
    event.data = std::move(data);
    return event;
}

/// Every byte, over and over.
std::string all_bytes(std::size_t count) {
    std::string bytes(count, '\0');
    for (std::size_t i = 0; i < count; ++i) {
        bytes[i] = static_cast<char>((i + i / 256) % 256);
    }
    return bytes;
}

Event with_odd_key() {
    Event event = new_event("odd-key", "application/json", R"({"id":1})");
    event.key = R"( a/b?c=d&e,f:{g} "h" 'i' %20 \ * $j 雪☃🦉 )";
    return event;
}

/// The type does not fit a routing key, the content type not AMQP's property of that name.
Event with_long_attributes() {
    Event event = new_event("long-attributes", "application/json", R"({"id":1})");
    event.type = "user." + std::string(400, 't');
    event.source = "https://example.org/" + std::string(2000, 's');
    event.key = std::string(kEventAttributeBytesMax, 'k');
    event.schema = "https://example.org/" + std::string(2000, 'd');
    event.content_type = "application/json; profile=" + std::string(300, 'p');
    return event;
}

Event with_extensions() {
    Event event = new_event("extensions", "application/json", R"({"id":1})");
    event.stream = "order-7";
    event.stream_version = 12;
    event.schema = "https://example.org/user/1";
    event.correlation_id = "request-1";
    event.causation_id = "order-7/11";
    event.trace_parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    event.extensions = {{"region", "eu, west=1"}, {"subject", "Zoë \"7\""}, {"tenant", "42"}};
    return event;
}

Event deletion() {
    Event event = new_event("delete-without-data", "application/json", "");
    event.type = "user.deleted";
    event.operation = Operation::kDelete;
    return event;
}

}  // namespace

std::vector<Event> payload_classes() {
    const std::string binary = "application/octet-stream";
    return {
        new_event("empty", binary, ""),
        new_event("json-object", "application/json",
                  "{ \"id\": 12345678901234567890, \"a\": 1.0 }"),
        new_event("json-not-ascii", "application/json", R"({"name":"Zoë Ωmega 雪 🦉"})"),
        new_event("text", "text/plain; charset=utf-8", "Grüße, 雪\tand more"),
        new_event("binary", binary, all_bytes(256)),
        new_event("1-kib", binary, all_bytes(1024)),
        new_event("1-mib", binary, all_bytes(1024UL * 1024)),
        with_odd_key(),
        with_long_attributes(),
        with_extensions(),
        deletion(),
        new_event("quotes-and-lines", "text/plain", "\"a\" 'b' \\n \\ \r\n$c `d` %s\n\n"),
    };
}

}  // namespace instep::test
