#pragma once

#include <chrono>
#include <functional>

namespace instep::test {

/// What every wait of a test for a real thread, process or server is given. Only a test that fails
/// waits so long, so it is enough for a machine that is ten times slower than any of ours.
inline constexpr std::chrono::seconds kPatience(120);

/// For real threads and real servers only: waits until `predicate` holds, and says whether
/// it did before `deadline`. Everything else goes by run_once() and a clock of the test's own.
[[nodiscard]] bool eventually(const std::function<bool()>& predicate,
                              std::chrono::milliseconds deadline = kPatience);

}  // namespace instep::test
