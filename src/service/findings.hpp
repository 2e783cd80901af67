// What a check has found so far.
#pragma once

#include "instep/capture/capture.hpp"

#include <string>
#include <utility>
#include <vector>

namespace instep {

class Findings {
public:
    void problem(std::string subject, std::string message, std::string fix) {
        add({Finding::Severity::kProblem, std::move(subject), std::move(message), std::move(fix)});
    }
    void warning(std::string subject, std::string message, std::string fix) {
        add({Finding::Severity::kWarning, std::move(subject), std::move(message), std::move(fix)});
    }
    void note(std::string subject, std::string message, std::string fix = {}) {
        add({Finding::Severity::kNote, std::move(subject), std::move(message), std::move(fix)});
    }
    void add(Finding finding) { all_.push_back(std::move(finding)); }

    [[nodiscard]] const std::vector<Finding>& all() const { return all_; }

private:
    std::vector<Finding> all_;
};

}  // namespace instep
