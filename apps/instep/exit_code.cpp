#include "exit_code.hpp"

namespace instep::cli {

ExitCode exit_code_of(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::kInvalidArgument:
            return ExitCode::kUsage;
        case ErrorCode::kConfigInvalid:
        case ErrorCode::kSchemaMismatch:
            return ExitCode::kConfigInvalid;
        case ErrorCode::kUnavailable:
        case ErrorCode::kBusy:
        case ErrorCode::kPermissionDenied:
            return ExitCode::kCannotConnect;
        case ErrorCode::kNotFound:
            return ExitCode::kNotFound;
        case ErrorCode::kConflict:
        case ErrorCode::kFenced:
            return ExitCode::kConflict;
        case ErrorCode::kTimeout:
            return ExitCode::kTimeout;
        case ErrorCode::kClosed:
            return ExitCode::kInterrupted;
        case ErrorCode::kCorrupt:
        case ErrorCode::kRejected:
        case ErrorCode::kLimitExceeded:
        case ErrorCode::kStorageFull:
        case ErrorCode::kUnsupported:
            break;
    }
    return ExitCode::kFailed;
}

}  // namespace instep::cli
