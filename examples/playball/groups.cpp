// The group management service and its command-line entrance.
#include "membership.hpp"
#include "service_program.hpp"

#include <fmt/format.h>

namespace playball {
namespace {

using instep::Result;
using instep::Transaction;

const std::vector<Action> kActions = {
    {"create",
     {"GROUP", "USER_ID"},
     [](Transaction& transaction, Arguments arguments) -> Result<std::string> {
         INSTEP_TRY(create_group(transaction, arguments[0], arguments[1]));
         return fmt::format("{} is created", arguments[0]);
     }},
    {"join",
     {"GROUP", "USER_ID"},
     [](Transaction& transaction, Arguments arguments) -> Result<std::string> {
         INSTEP_TRY(join_group(transaction, arguments[0], arguments[1]));
         return fmt::format("{} has a new member", arguments[0]);
     }},
    {"list",
     {},
     [](Transaction& transaction, Arguments) -> Result<std::string> {
         return list_groups(transaction);
     }},
};

}  // namespace
}  // namespace playball

int main(int argc, char** argv) {
    return playball::run_program({argv, argv + argc}, playball::kActions,
                                 {{"membership", playball::membership_handlers()}});
}
