// Bytes are kept in std::string and passed as std::string_view; these are the few
// conversions that storage and wire formats share.
#pragma once

#include "instep/base/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace instep {

/// Lower-case hexadecimal.
std::string to_hex(std::string_view bytes);

/// Reads either case. Errors: kInvalidArgument for an odd length or another character.
Result<std::string> from_hex(std::string_view text);

/// RFC 4648 with the standard alphabet and padding.
std::string to_base64(std::string_view bytes);

/// Reads exactly what to_base64() writes: no line breaks, no missing padding. Errors:
/// kInvalidArgument.
Result<std::string> from_base64(std::string_view text);

/// True for well-formed UTF-8 (no surrogates, nothing overlong, nothing above U+10FFFF),
/// which is what every JSON text must be.
bool is_utf8(std::string_view bytes) noexcept;

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
