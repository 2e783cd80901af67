#include "instep/http/message.hpp"

#include <algorithm>

namespace instep {

std::string_view find_header(const HttpHeaders& headers, std::string_view name) {
    const auto lower = [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    const auto found = std::ranges::find_if(headers, [&](const auto& header) {
        return std::ranges::equal(header.first, name, {}, lower, lower);
    });
    return found == headers.end() ? std::string_view{} : std::string_view(found->second);
}

}  // namespace instep
