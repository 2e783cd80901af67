// The program of a service: `serve` runs it, and every action is one transaction on its database,
// by command line or by HTTP.
#pragma once

#include "instep/db/connection.hpp"
#include "instep/service/service.hpp"

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace playball {

using Arguments = std::span<const std::string>;

/// What the service can be asked for.
struct Action {
    std::string_view name;

    /// What its arguments are called in the usage; in lower case they are fields of a request.
    std::vector<std::string_view> parameters;

    /// Returns what to print once the transaction has committed. An error rolls it back.
    std::function<instep::Result<std::string>(instep::Transaction& transaction,
                                              Arguments arguments)>
        run;
};

/// PROGRAM SERVICE_FILE serve [--apply] | ACTION ARGUMENT...
///
/// `serve` runs the service until SIGINT or SIGTERM; `--apply` first makes the tables of the .sql
/// file beside the service file, and what Instep needs. It says on stdout where it answers
/// `POST /ACTION {"argument": "…"}`, and shows its metrics and health: at the address that the
/// environment names as LISTEN, or on a port that is free. Returns the exit code: 0, 1 with the
/// error on stderr, or 2 with the usage there.
int run_program(const std::vector<std::string>& words, std::span<const Action> actions,
                const instep::Handlers& handlers);

}  // namespace playball
