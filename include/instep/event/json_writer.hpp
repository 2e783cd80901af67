// Appends JSON text to a string, for the hot paths that write rows and envelopes. Reading
// JSON is a library's job.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace instep {

/// Appends `text` as a JSON string with its quotes. Bytes of 0x80 and above pass unchanged.
void append_json_string(std::string& out, std::string_view text);

/// Appends the shortest decimal that reads back as the same double, and as a double ("5.0").
/// Infinities and NaN, which JSON lacks, become {"real":"Infinity"}, {"real":"-Infinity"},
/// {"real":"NaN"}.
void append_json_number(std::string& out, double value);
void append_json_number(std::string& out, std::int64_t value);

}  // namespace instep
