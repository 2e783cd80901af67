// A parked key as every command prints it.
#pragma once

#include "instep/consumer/consumer.hpp"
#include "output.hpp"

#include <string>

namespace instep::cli {

/// "dead" is null while the key is tried again, "skipped" unless it is an event that was set aside.
JsonObject to_json(const ParkedKey& parked);

/// "dead", "skipped" or "retried".
std::string state_of(const ParkedKey& parked);

}  // namespace instep::cli
