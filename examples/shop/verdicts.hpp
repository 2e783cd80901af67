// How the shop's handlers end.
#pragma once

#include <instep/consumer/handler.hpp>

namespace shop {

/// A handler either did it or is called again, later, for the same event.
inline instep::Verdict done_or_retry(const instep::Result<void>& outcome) {
    return outcome ? instep::Verdict::done() : instep::Verdict::retry(outcome.error().message);
}

}  // namespace shop
