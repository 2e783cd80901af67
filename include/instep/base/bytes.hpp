// Bytes are kept in std::string and passed as std::string_view; these are the few
// conversions that storage and wire formats share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "instep/base/error.hpp"

namespace instep {

/// Lower-case hexadecimal.
std::string to_hex(std::string_view bytes);

/// Reads either case. Errors: kInvalidArgument for an odd length or another character.
Result<std::string> from_hex(std::string_view text);

/// Appends `value` most significant byte first, so that bytes sort as numbers do.
void append_big_endian(std::string& out, std::uint64_t value);
void append_big_endian(std::string& out, std::uint32_t value);

/// Reads 8 or 4 bytes from the front of `bytes`, which must be long enough.
std::uint64_t read_big_endian_64(std::string_view bytes) noexcept;
std::uint32_t read_big_endian_32(std::string_view bytes) noexcept;

/// The hash that assigns keys to partitions and lanes: XXH3, 64 bits, seed 0. Part of the
/// wire format: a change moves keys between partitions.
std::uint64_t key_hash(std::string_view key) noexcept;

}  // namespace instep
