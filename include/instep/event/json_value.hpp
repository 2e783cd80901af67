// Reads JSON that is not too large to hold: payloads and settings, not rows by the million.
#pragma once

#include "instep/base/error.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace instep {

/// What a value is. A number is an integer if it is written as one, and 64 bits hold it.
enum class JsonKind : std::uint8_t { kNothing, kBoolean, kInteger, kNumber, kText, kList, kObject };

/// A value within a JsonDocument, which must outlive it. Errors of every reading:
/// kInvalidArgument if the value is of another type.
class JsonValue {
public:
    [[nodiscard]] JsonKind kind() const;
    [[nodiscard]] bool is_null() const;
    [[nodiscard]] Result<bool> boolean() const;

    /// A number without fraction that 64 bits with a sign hold.
    [[nodiscard]] Result<std::int64_t> integer() const;
    [[nodiscard]] Result<double> number() const;

    /// Valid as long as the document.
    [[nodiscard]] Result<std::string_view> text() const;
    [[nodiscard]] Result<std::vector<JsonValue>> items() const;

    /// Of an object; nothing if it has no such field.
    [[nodiscard]] Result<std::optional<JsonValue>> field(std::string_view name) const;

    /// All fields of an object, in the order of the text.
    [[nodiscard]] Result<std::vector<std::pair<std::string_view, JsonValue>>> fields() const;

private:
    friend class JsonDocument;

    /// The parser's own handle, kept out of this header.
    alignas(8) std::array<std::byte, 16> handle_{};
};

/// Owns what was parsed.
class JsonDocument {
public:
    /// Errors: kCorrupt for text that is no JSON, kLimitExceeded beyond kEventDataBytesMax.
    static Result<JsonDocument> parse(std::string_view json);
    JsonDocument(JsonDocument&&) noexcept;
    JsonDocument& operator=(JsonDocument&&) noexcept;
    ~JsonDocument();

    [[nodiscard]] JsonValue root() const;

private:
    struct Parsed;
    explicit JsonDocument(std::unique_ptr<Parsed> parsed);
    std::unique_ptr<Parsed> parsed_;
};

}  // namespace instep
