// What a run found wrong.
#pragma once

#include <string>
#include <utility>

namespace instep::simulation {

/// Keeps the first finding; later ones follow from it more often than not.
class Findings {
public:
    void report(std::string finding) {
        if (first_.empty()) {
            first_ = std::move(finding);
        }
    }

    [[nodiscard]] bool any() const noexcept { return !first_.empty(); }
    [[nodiscard]] const std::string& first() const noexcept { return first_; }

private:
    std::string first_;
};

}  // namespace instep::simulation
