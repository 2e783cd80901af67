#include "failure_policies.hpp"

#include <fmt/format.h>

namespace instep {

std::span<const ErrorCode> failure_classes() noexcept {
    using enum ErrorCode;
    static constexpr ErrorCode kClasses[] = {
        kInvalidArgument, kConfigInvalid, kNotFound,         kConflict,       kFenced,  kTimeout,
        kUnavailable,     kBusy,          kClosed,           kSchemaMismatch, kCorrupt, kRejected,
        kLimitExceeded,   kStorageFull,   kPermissionDenied, kUnsupported,
    };
    return kClasses;
}

FailurePolicies::FailurePolicies(const ConsumerOptions& options)
    : of_all_{options.parked_backoff, options.attempts_max, options.on_failure},
      by_error_(options.policies) {
    for (const ErrorCode error : failure_classes()) {
        if (stops_at(error)) {
            stopping_ += fmt::format("{}'{}'", stopping_.empty() ? "" : ", ", to_string(error));
        }
    }
}

const FailurePolicy& FailurePolicies::of(ErrorCode error) const {
    const auto found = by_error_.find(error);
    return found == by_error_.end() ? of_all_ : found->second;
}

}  // namespace instep
