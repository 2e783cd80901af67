// Expected outcomes are values: every fallible call of the library returns Result<T>.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace instep {

/// One closed set for the whole library; each code asks for a different reaction.
enum class ErrorCode : std::uint8_t {
    kInvalidArgument,   ///< The caller broke a documented bound. Repeating it cannot help.
    kConfigInvalid,     ///< A service file or option is wrong. Correct it and start again.
    kNotFound,          ///< What was named does not exist.
    kConflict,          ///< Somebody else changed it first: read again, decide again.
    kFenced,            ///< Another holder took over: stop at once, write nothing more.
    kTimeout,           ///< Not done in time; it may still happen.
    kUnavailable,       ///< A server, file or network is not reachable now. Retry later.
    kBusy,              ///< Locked by a concurrent writer. Retry soon.
    kClosed,            ///< The object was stopped or the operation was interrupted.
    kSchemaMismatch,    ///< Tables, events or files are of another version or shape.
    kCorrupt,           ///< Stored or received bytes are not what they must be.
    kRejected,          ///< Well formed, but refused by a constraint, a contract or a handler.
    kLimitExceeded,     ///< Larger than a named limit.
    kStorageFull,       ///< No room left. Free space, then retry.
    kPermissionDenied,  ///< A right is missing.
    kUnsupported,       ///< This backend or version cannot do it.
};

/// The code's name in logs, metrics and JSON, such as "not_found".
std::string_view to_string(ErrorCode code) noexcept;

/// True if the same call may succeed later without anybody changing anything.
bool is_retryable(ErrorCode code) noexcept;

/// A failed outcome. `message` is one sentence for an operator: what failed, on what,
/// and what to do; it holds no secret.
struct [[nodiscard]] Error {
    ErrorCode code;
    std::string message;

    friend bool operator==(const Error&, const Error&) = default;
};

template <class T = void>
using Result = std::expected<T, Error>;

/// `return fail(ErrorCode::kNotFound, "table \"users\" does not exist in iam.db");`
inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
    return std::unexpected<Error>(Error{code, std::move(message)});
}

/// The same error with its place in front: "backfill of lookup_users: disk is full".
std::unexpected<Error> fail_in(std::string_view where, Error error);

}  // namespace instep

#define INSTEP_CONCAT_INNER(a, b) a##b
#define INSTEP_CONCAT(a, b) INSTEP_CONCAT_INNER(a, b)

/// Returns the error of a Result<void> to the caller.
#define INSTEP_TRY(...)                                             \
    do {                                                            \
        if (auto&& instep_try_ = (__VA_ARGS__); !instep_try_) {     \
            return std::unexpected(std::move(instep_try_).error()); \
        }                                                           \
    } while (false)

/// `INSTEP_TRY_ASSIGN(auto rows, connection.query(...));` assigns, or returns the error.
#define INSTEP_TRY_ASSIGN(target, ...) \
    INSTEP_TRY_ASSIGN_INNER(INSTEP_CONCAT(instep_try_, __LINE__), target, __VA_ARGS__)
#define INSTEP_TRY_ASSIGN_INNER(temporary, target, ...)       \
    auto temporary = (__VA_ARGS__);                           \
    if (!temporary) {                                         \
        return std::unexpected(std::move(temporary).error()); \
    }                                                         \
    target = std::move(*temporary)
