#pragma once

#include <chrono>
#include <functional>

namespace instep::test {

/// For real threads and real servers only: waits until `predicate` holds, and says whether
/// it did before `deadline`. Everything else goes by run_once() and a clock of the test's own.
[[nodiscard]] bool eventually(const std::function<bool()>& predicate,
                              std::chrono::milliseconds deadline = std::chrono::seconds(10));

}  // namespace instep::test
