// The types of PostgreSQL's catalogue that we read and write without a detour by text.
#pragma once

#include <libpq-fe.h>

namespace instep::postgres {

// Fixed by the server's source: src/include/catalog/pg_type.dat.
inline constexpr Oid kBool = 16;
inline constexpr Oid kBytea = 17;
inline constexpr Oid kName = 19;
inline constexpr Oid kInt8 = 20;
inline constexpr Oid kInt2 = 21;
inline constexpr Oid kInt4 = 23;
inline constexpr Oid kText = 25;
inline constexpr Oid kOid = 26;
inline constexpr Oid kFloat4 = 700;
inline constexpr Oid kFloat8 = 701;
inline constexpr Oid kBpchar = 1042;
inline constexpr Oid kVarchar = 1043;
inline constexpr Oid kByteaArray = 1001;
inline constexpr Oid kTextArray = 1009;
inline constexpr Oid kInt8Array = 1016;
inline constexpr Oid kFloat8Array = 1022;

/// libpq's two formats of a value.
inline constexpr int kTextFormat = 0;
inline constexpr int kBinaryFormat = 1;

}  // namespace instep::postgres
