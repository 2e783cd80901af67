// One database value on its way in or out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace instep {

/// Bytes that are no text. Viewed, not owned.
struct BlobView {
    std::string_view bytes;
    friend bool operator==(const BlobView&, const BlobView&) = default;
};

/// Bytes that are no text, owned.
struct Blob {
    std::string bytes;
    friend bool operator==(const Blob&, const Blob&) = default;
};

/// NULL, integer, real, text or bytes. The text and bytes belong to somebody else and must
/// outlive the use.
using ValueView = std::variant<std::monostate, std::int64_t, double, std::string_view, BlobView>;

/// The same, owning its text or bytes.
using Value = std::variant<std::monostate, std::int64_t, double, std::string, Blob>;

inline constexpr std::monostate kNull{};

/// A view that lives as long as `value` does.
ValueView view(const Value& value);

/// A copy that owns what `value` shows.
Value own(const ValueView& value);

}  // namespace instep
