// What goes to and fro over HTTP, for the listener and the client alike.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace instep {

/// Names are compared without regard to case.
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// The value of the first header of this name; empty if there is none. Valid as long as `headers`.
std::string_view find_header(const HttpHeaders& headers, std::string_view name);

/// A request as it was read, or is to be sent.
struct HttpRequest {
    /// In upper case, such as "GET".
    std::string method = "GET";

    /// From its first slash to what precedes the question mark, not decoded: "/orders/o-1".
    std::string path = "/";

    /// What stands behind the question mark, not decoded.
    std::string query{};
    HttpHeaders headers{};
    std::string body{};

    /// As find_header().
    [[nodiscard]] std::string_view header(std::string_view name) const {
        return find_header(headers, name);
    }
};

/// An answer.
struct HttpResponse {
    /// 200 to 599.
    unsigned status = 200;
    std::string body{};
    std::string content_type = "text/plain; charset=utf-8";

    /// Others than the content's type and length.
    HttpHeaders headers{};
};

}  // namespace instep
