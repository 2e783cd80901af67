// The checks that every way into an Event shares.
#pragma once

#include "instep/base/error.hpp"
#include "instep/event/event.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace instep::detail {

/// The attributes that have a field in Event, and all that one event can have.
inline constexpr std::size_t kKnownAttributes = 17;
inline constexpr std::size_t kAttributesMax = kKnownAttributes + kEventExtensionsMax;

inline constexpr std::size_t kExtensionNameBytesMax = 64;

using Extensions = std::span<const std::pair<std::string, std::string>>;

/// True for the attributes that have a field, but not for `subject`, which may be both.
bool is_reserved_name(std::string_view name);

Result<void> check_attribute(std::string_view name, std::string_view value);
Result<void> check_extension(std::string_view name, std::string_view value, Extensions earlier);
Result<void> check_totals(const Event& event);
Result<void> check_required(const Event& event);

}  // namespace instep::detail
