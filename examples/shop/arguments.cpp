#include "arguments.hpp"

namespace shop {

using instep::ErrorCode;
using instep::fail;
using instep::Result;

Result<Arguments> Arguments::parse(std::span<char* const> words) {
    if (words.size() < 2) {
        return fail(ErrorCode::kInvalidArgument, "give a command and a service file");
    }
    Arguments arguments;
    arguments.command_ = words[0];
    arguments.file_ = words[1];
    for (std::size_t i = 2; i < words.size(); ++i) {
        const std::string_view word = words[i];
        if (word == "--apply") {
            arguments.applies_ = true;
        } else if (word.starts_with("--") && i + 1 < words.size()) {
            arguments.values_.insert_or_assign(std::string(word.substr(2)), words[++i]);
        } else {
            return fail(ErrorCode::kInvalidArgument,
                        "\"" + std::string(word) + "\" is no option, or has no value behind it");
        }
    }
    return arguments;
}

std::optional<std::string> Arguments::find(std::string_view name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace shop
