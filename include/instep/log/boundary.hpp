// Whole transactions on a topic: where several entities share one, and where it may be cut.
//
// A service may publish the changes of some entities a second time, all in one topic and in
// commit order. Now and then a boundary stands there: behind it no transaction of the service
// is half told. Whoever commits at boundaries only, shows what the service's own readers saw.
#pragma once

#include "instep/event/event.hpp"
#include "instep/log/log.hpp"

#include <string>
#include <string_view>

namespace instep {

/// The topic of a service's whole transactions: "iam.transactions". No entity has this name.
std::string transactions_topic(std::string_view service);

/// Part of it behind the service's name.
inline constexpr std::string_view kTransactions = "transactions";

/// The boundary behind everything up to `version`: an event without operation.
Event boundary_behind(std::string_view service, const LogIdentity& identity, const Version& version,
                      Timestamp time);

bool is_boundary(const Event& event);

}  // namespace instep
