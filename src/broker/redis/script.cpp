#include "script.hpp"

#include "redis_scripts.hpp"

#include <string>

namespace instep::redis {

namespace {

std::string_view find(std::string_view name) {
    for (const auto& file : embedded::redis_scripts()) {
        if (file.name == name) {
            return file.text;
        }
    }
    return {};
}

std::string with_groups(std::string_view name) {
    return std::string(find("groups.lua")).append(find(name));
}

}  // namespace

std::string_view acknowledge_script() { return find("acknowledge.lua"); }
std::string_view leave_script() { return find("leave.lua"); }

std::string_view declare_script() {
    static const std::string text = with_groups("declare.lua");
    return text;
}

std::string_view kept_script() {
    static const std::string text = with_groups("kept.lua");
    return text;
}

std::string_view lag_script() {
    static const std::string text = with_groups("lag.lua");
    return text;
}

std::string_view refresh_script() {
    static const std::string text = with_groups("refresh.lua");
    return text;
}

std::string_view rewind_script() {
    static const std::string text = with_groups("rewind.lua");
    return text;
}

std::string_view subscribe_script() {
    static const std::string text = with_groups("subscribe.lua");
    return text;
}

std::string_view trim_script() {
    static const std::string text = with_groups("trim.lua");
    return text;
}

}  // namespace instep::redis
