#include "instep/base/error.hpp"

namespace instep {

std::string_view to_string(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::kInvalidArgument:
            return "invalid_argument";
        case ErrorCode::kConfigInvalid:
            return "config_invalid";
        case ErrorCode::kNotFound:
            return "not_found";
        case ErrorCode::kConflict:
            return "conflict";
        case ErrorCode::kFenced:
            return "fenced";
        case ErrorCode::kTimeout:
            return "timeout";
        case ErrorCode::kUnavailable:
            return "unavailable";
        case ErrorCode::kBusy:
            return "busy";
        case ErrorCode::kClosed:
            return "closed";
        case ErrorCode::kSchemaMismatch:
            return "schema_mismatch";
        case ErrorCode::kCorrupt:
            return "corrupt";
        case ErrorCode::kRejected:
            return "rejected";
        case ErrorCode::kLimitExceeded:
            return "limit_exceeded";
        case ErrorCode::kStorageFull:
            return "storage_full";
        case ErrorCode::kPermissionDenied:
            return "permission_denied";
        case ErrorCode::kUnsupported:
            return "unsupported";
    }
    return "unknown";
}

bool is_retryable(ErrorCode code) noexcept {
    return code == ErrorCode::kTimeout || code == ErrorCode::kUnavailable ||
           code == ErrorCode::kBusy || code == ErrorCode::kStorageFull;
}

std::unexpected<Error> fail_in(std::string_view where, Error error) {
    error.message.insert(0, ": ").insert(0, where);
    return std::unexpected<Error>(std::move(error));
}

}  // namespace instep
