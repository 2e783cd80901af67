// Appends to the lists of some keys, each time in one transaction with the list's own length.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/db/database.hpp"
#include "tests/storm/options.hpp"

#include <string>
#include <thread>
#include <vector>

namespace instep::storm {

/// Threads that write until stop().
class Writers {
public:
    Writers(Database& owner, const StormOptions& options);
    void stop();

private:
    std::vector<std::jthread> threads_;
};

}  // namespace instep::storm
