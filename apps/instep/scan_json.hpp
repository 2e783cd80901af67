// A scan as commands print it with --json.
#pragma once

#include "instep/replica/scan.hpp"
#include "output.hpp"

namespace instep::cli {

JsonObject to_json(const ScanStatus& scan);

}  // namespace instep::cli
