// Named places where a crash test can end the process or make a step fail.
//
// A build without INSTEP_FAIL_POINTS holds none of this. With it, the environment variable
// INSTEP_FAIL names what happens, as a comma-separated list of `name=action[@hit]`:
//   crash   ends the process at once, as kill -9 would: nothing is flushed
//   error   makes the step fail with kUnavailable
// `@3` acts at the third pass of that point only; without it, at the first.
#pragma once

#include "instep/base/error.hpp"

#include <span>
#include <string_view>

namespace instep {

/// Every fail point of the library, so that a crash test can visit all of them.
std::span<const std::string_view> fail_point_names() noexcept;

/// For INSTEP_FAIL_POINT only.
Result<void> reach_fail_point(std::string_view name);

}  // namespace instep

#ifdef INSTEP_FAIL_POINTS
#define INSTEP_FAIL_POINT(name) INSTEP_TRY(::instep::reach_fail_point(name))
#else
#define INSTEP_FAIL_POINT(name) \
    do {                        \
    } while (false)
#endif
