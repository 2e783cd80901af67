#include "routes.hpp"

#include "instep/telemetry/logger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <set>

namespace instep {

namespace {

bool fits(const HttpRoute& route, std::string_view path) {
    return route.path == path || (route.path.ends_with('/') && path.starts_with(route.path));
}

/// Header lines end at a line feed, so a value that holds one would be two lines.
bool is_sound(const HttpResponse& response) {
    const auto is_plain = [](std::string_view text) {
        return std::ranges::none_of(
            text, [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == '\x7F'; });
    };
    return response.status >= 200 && response.status < 600 && is_plain(response.content_type) &&
           std::ranges::all_of(
               response.headers,
               [&](const auto& header) {
                   return !header.first.empty() && is_plain(header.first) &&
                          is_plain(header.second);
               });
}

}  // namespace

Routes::Routes(std::vector<HttpRoute> routes, const Logger& logger)
    : routes_(std::move(routes)), logger_(logger) {
    // The first that fits is then the longest.
    std::ranges::stable_sort(routes_, std::ranges::greater{},
                             [](const HttpRoute& route) { return route.path.size(); });
}

HttpResponse Routes::answer(const HttpRequest& request) const {
    const std::string_view method =
        request.method == "HEAD" ? std::string_view("GET") : std::string_view(request.method);
    std::set<std::string_view> allowed;
    const HttpRoute* found = nullptr;
    for (const HttpRoute& route : routes_) {
        if (!fits(route, request.path)) {
            continue;
        }
        if (route.method == method) {
            found = &route;
            break;
        }
        allowed.insert(route.method);
    }
    if (found == nullptr) {
        return allowed.empty()
                   ? HttpResponse{.status = 404, .body = "there is nothing here\n"}
                   : HttpResponse{
                         .status = 405,
                         .body = "this method is not for this path\n",
                         .headers = {{"allow", fmt::format("{}", fmt::join(allowed, ", "))}}};
    }
    std::string failure = "it answered with a status or a header that is none";
    try {
        HttpResponse response = found->answer(request);
        if (is_sound(response)) {
            return response;
        }
    } catch (const std::exception& thrown) {
        failure = thrown.what();
    }
    logger_.error("http.handler_failed",
                  {{"method", request.method}, {"path", found->path}, {"error", failure}});
    return {.status = 500, .body = "the request failed; the log says why\n"};
}

}  // namespace instep
