// What a subscription does about failures, by the class of their error.
#pragma once

#include "instep/consumer/consumer_options.hpp"

#include <string>

namespace instep {

class FailurePolicies {
public:
    explicit FailurePolicies(const ConsumerOptions& options);

    [[nodiscard]] const FailurePolicy& of(ErrorCode error) const;

    /// Nothing behind such a failure is tried.
    [[nodiscard]] bool stops_at(ErrorCode error) const {
        return of(error).on_failure == OnFailure::kStopFlow;
    }

    /// True if it stops at some.
    [[nodiscard]] bool stops_at_any() const { return !stopping_.empty(); }

    /// The names of the classes at which it stops, as SQL has a list of texts.
    [[nodiscard]] const std::string& stopping() const { return stopping_; }

private:
    FailurePolicy of_all_;
    std::map<ErrorCode, FailurePolicy> by_error_;
    std::string stopping_;
};

}  // namespace instep
