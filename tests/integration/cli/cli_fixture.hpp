// A folder with two service files and their databases, and the program to try on them:
// "iam" owns the table users, "data-owner" keeps lookup_users in step with it.
#pragma once

#include "instep/base/clock.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace instep::test {

class CliTest : public testing::Test {
protected:
    /// Writes both files and iam's database with three users; nothing is applied.
    void given_services();

    /// The same, applied.
    void given_applied_services();

    /// The same, filled and at rest.
    void given_filled_replica();

    void given_file(std::string_view name, std::string_view text) const;

    /// Runs the program in the folder to its end.
    [[nodiscard]] Finished run(const std::vector<std::string>& arguments) const;

    /// Runs it with --json; the one object that it printed, whose schema must be `schema`.
    [[nodiscard]] nlohmann::json run_json(const std::vector<std::string>& arguments,
                                          std::string_view schema) const;

    /// What the program is started with.
    [[nodiscard]] ProcessOptions options(const std::vector<std::string>& arguments) const;

    /// Runs SQL on a database of the folder.
    void sql(std::string_view database, std::string_view script) const;

    /// The one value of a query as text, or "" if there is none.
    [[nodiscard]] std::string value(std::string_view database, std::string_view query) const;

    TempDir folder_;
    SystemClock clock_;
};

}  // namespace instep::test
