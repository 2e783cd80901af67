// A command line: COMMAND FILE [--name value]... [--flag]...
#pragma once

#include <instep/base/error.hpp>

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace shop {

class Arguments {
public:
    /// `words` without the program's name. Errors: kInvalidArgument.
    static instep::Result<Arguments> parse(std::span<char* const> words);

    [[nodiscard]] const std::string& command() const { return command_; }

    /// The service file.
    [[nodiscard]] const std::string& file() const { return file_; }
    [[nodiscard]] bool applies() const { return applies_; }

    /// The last value of --name.
    [[nodiscard]] std::optional<std::string> find(std::string_view name) const;

private:
    std::string command_;
    std::string file_;
    bool applies_ = false;
    std::map<std::string, std::string, std::less<>> values_;
};

}  // namespace shop
