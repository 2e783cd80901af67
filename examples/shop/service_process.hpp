// A service as a process, and the two things that every service can be asked for.
#pragma once

#include "arguments.hpp"
#include "entrance.hpp"

#include <instep/service/service.hpp>

#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace shop {

/// What a service has besides its file.
struct ServiceCode {
    /// Code for the subscriptions of the file. `process` is unique among running processes.
    std::function<instep::Handlers(const std::string& process)> handlers;

    /// The query that `show` prints: columns of text only.
    std::string_view shown;

    /// The requests that it takes, by the command line of `serve`.
    std::function<std::vector<RequestRoute>(const Arguments& arguments)> requests{};
};

/// By the name in the service file.
using Services = std::map<std::string, ServiceCode, std::less<>>;

/// Runs the service of the file until SIGINT or SIGTERM. By HTTP, at --listen ADDRESS or on a port
/// that is free, it takes requests and shows metrics and health. With --apply it first makes the
/// tables of its SQL file and those of Instep; leave that to one process at a time. Errors:
/// kNotFound for a service without code here; those of Service and HttpListener.
instep::Result<void> serve(const Arguments& arguments, const Services& services);

/// Prints what the service has come to, a row a line. Errors: as serve().
instep::Result<void> show(const Arguments& arguments, const Services& services);

/// What a command does.
using Command = std::function<instep::Result<void>(const Arguments& arguments)>;

/// Runs one of the commands, and tells what went wrong. Returns the exit code: 0, 1 for a failure,
/// 2 for a command line that is none.
int run_command(std::span<char* const> words, const std::map<std::string, Command>& commands);

}  // namespace shop
