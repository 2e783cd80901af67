#pragma once

#include "instep/base/error.hpp"

#include <fmt/format.h>

#include <string_view>

namespace instep::replication {

/// A name that passes needs no quoting. Errors: kInvalidArgument.
inline Result<void> check_slot_name(std::string_view name) {
    constexpr std::size_t kSizeMax = 63;
    constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz0123456789_";
    if (name.empty() || name.size() > kSizeMax ||
        name.find_first_not_of(kAllowed) != std::string_view::npos) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" cannot be a replication slot's name: 1 to {} of a-z, 0-9 "
                                "and _",
                                name, kSizeMax));
    }
    return {};
}

}  // namespace instep::replication
