// From a request to its answer, whatever carries the two.
#pragma once

#include "instep/http/listener.hpp"

#include <vector>

namespace instep {

/// Safe to use from any thread, as far as the handlers are.
class Routes {
public:
    /// `logger` must outlive it.
    Routes(std::vector<HttpRoute> routes, const Logger& logger);

    /// 404 and 405 where nothing is for the request, 500 where a handler fails.
    [[nodiscard]] HttpResponse answer(const HttpRequest& request) const;

private:
    std::vector<HttpRoute> routes_;
    const Logger& logger_;
};

}  // namespace instep
