// A command line: COMMAND FILE [--name value]... [--flag]...
#pragma once

#include <instep/base/error.hpp>

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shop {

class Arguments {
public:
    /// `words` without the program's name. Errors: kInvalidArgument.
    static instep::Result<Arguments> parse(std::span<char* const> words);

    [[nodiscard]] const std::string& command() const { return command_; }

    /// The service file.
    [[nodiscard]] const std::string& file() const { return file_; }
    [[nodiscard]] bool applies() const { return applies_; }

    /// All values of --name, in order.
    [[nodiscard]] std::vector<std::string> all(std::string_view name) const;

    /// The last value of --name.
    [[nodiscard]] std::optional<std::string> find(std::string_view name) const;

    /// Errors: kInvalidArgument if it is missing.
    [[nodiscard]] instep::Result<std::string> require(std::string_view name) const;

private:
    std::string command_;
    std::string file_;
    bool applies_ = false;
    std::multimap<std::string, std::string, std::less<>> values_;
};

}  // namespace shop
