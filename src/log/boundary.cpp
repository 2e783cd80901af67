#include "instep/log/boundary.hpp"

#include <fmt/format.h>

namespace instep {

namespace {

constexpr std::string_view kBoundary = "log.transactions_ended";

}  // namespace

std::string transactions_topic(std::string_view service) {
    return fmt::format("{}.{}", service, kTransactions);
}

Event boundary_behind(std::string_view service, const LogIdentity& identity, const Version& version,
                      Timestamp time) {
    Event event;
    event.id = fmt::format("boundary/{}", to_sequence(version));
    event.source = service;
    event.type = kBoundary;
    event.key = service;
    event.time = time;
    event.version = version;
    event.incarnation = identity.incarnation;
    event.data = "{}";
    return event;
}

bool is_boundary(const Event& event) {
    return event.operation == Operation::kNone && event.type == kBoundary;
}

}  // namespace instep
