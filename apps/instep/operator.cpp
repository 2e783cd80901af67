#include "operator.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <unistd.h>

namespace instep::cli {

Operator operator_named(const std::string& who, const std::string& reason) {
    const char* const user = std::getenv("USER");
    return {!who.empty()      ? who
            : user != nullptr ? user
                              : fmt::format("user {}", ::getuid()),
            reason};
}

}  // namespace instep::cli
