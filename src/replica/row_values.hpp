// The values of one row on their way between databases, JSON, keys and hashes.
#pragma once

#include "instep/db/value.hpp"

#include <array>
#include <cstdint>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace instep {

using Row = std::vector<ValueView>;

/// Keeps the texts that ValueViews show, until it goes or is cleared.
class ValueArena {
public:
    std::string_view keep(std::string_view text);
    ValueView keep_value(const ValueView& value);
    void clear() { memory_.release(); }

private:
    std::pmr::monotonic_buffer_resource memory_{64U * 1024};
};

/// Appends the value as capture triggers write it: bytes as {"hex":"…"}.
void append_json_value(std::string& out, const ValueView& value);

/// The values as a JSON array.
std::string to_json_array(std::span<const ValueView> values);

/// The key as in Event::key: one value as its text, several as a JSON array.
std::string key_text(std::span<const ValueView> values);

/// A hash of a set of rows that does not depend on their order: the sum, modulo 2^128, of
/// XXH3-128 over each row's values. A real that is a whole number counts as that integer,
/// since databases differ in which of the two they keep.
class RowSetHash {
public:
    void add(std::span<const ValueView> values);

    [[nodiscard]] std::uint64_t rows() const noexcept { return rows_; }

    /// 32 hexadecimal digits.
    [[nodiscard]] std::string hex() const;

private:
    std::uint64_t high_ = 0;
    std::uint64_t low_ = 0;
    std::uint64_t rows_ = 0;
    std::string scratch_;
};

}  // namespace instep
