// The auth service and its command-line entrance.
#include "accounts.hpp"
#include "service_program.hpp"

#include <fmt/format.h>

namespace playball {
namespace {

using instep::Result;
using instep::Transaction;

const std::vector<Action> kActions = {
    {"register",
     {"USERNAME", "NAME", "EMAIL"},
     [](Transaction& transaction, Arguments arguments) {
         return register_user(transaction, arguments[0], arguments[1], arguments[2]);
     }},
    {"rename",
     {"USER_ID", "NAME"},
     [](Transaction& transaction, Arguments arguments) -> Result<std::string> {
         INSTEP_TRY(rename_user(transaction, arguments[0], arguments[1]));
         return fmt::format("{} is now {}", arguments[0], arguments[1]);
     }},
    {"delete",
     {"USER_ID"},
     [](Transaction& transaction, Arguments arguments) -> Result<std::string> {
         INSTEP_TRY(delete_user(transaction, arguments[0]));
         return fmt::format("{} is deleted", arguments[0]);
     }},
};

}  // namespace
}  // namespace playball

int main(int argc, char** argv) {
    return playball::run_program({argv, argv + argc}, playball::kActions, {});
}
