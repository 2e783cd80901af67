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
            arguments.values_.emplace(word.substr(2), words[++i]);
        } else {
            return fail(ErrorCode::kInvalidArgument,
                        "\"" + std::string(word) + "\" is no option, or has no value behind it");
        }
    }
    return arguments;
}

std::vector<std::string> Arguments::all(std::string_view name) const {
    std::vector<std::string> found;
    const auto [first, last] = values_.equal_range(name);
    for (auto value = first; value != last; ++value) {
        found.push_back(value->second);
    }
    return found;
}

std::optional<std::string> Arguments::find(std::string_view name) const {
    auto found = all(name);
    return found.empty() ? std::nullopt : std::optional(std::move(found.back()));
}

Result<std::string> Arguments::require(std::string_view name) const {
    auto found = find(name);
    if (!found) {
        return fail(ErrorCode::kInvalidArgument, "--" + std::string(name) + " is missing");
    }
    return *std::move(found);
}

}  // namespace shop
