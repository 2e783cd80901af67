// What replicas must keep that take in their owner's transactions whole: whoever looks at their
// tables together sees what one commit of the owner left, and never what an earlier one did.
#pragma once

#include "tests/simulation/watches.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace instep::simulation {

/// The subscription of such a group. Beside it, each table has a watch of its own.
class GroupWatch final : public SubscriptionWatch {
public:
    GroupWatch(SimDatabase& database, std::string subscription, SimDatabase& source,
               Findings& findings)
        : SubscriptionWatch(database, std::move(subscription), findings), source_(source) {}

    /// Before anything is written. `table` is watched by `watch`, and has the columns under the
    /// same names here and there.
    void add_table(const ReplicaDefinition& definition, ReplicaWatch& watch,
                   const std::vector<std::pair<std::string, std::string>>& columns);

    /// To be called after each commit of the owner.
    void after_source_commit();

    void delivered(const Delivery& delivery) override;

protected:
    void look() override;
    bool is_done(const Event& event) override;

private:
    [[nodiscard]] ReplicaWatch* watch_of(const Event& event) const;
    [[nodiscard]] std::string tables_in(const SimDatabase& database) const;
    [[nodiscard]] bool are_live() const;

    SimDatabase& source_;
    std::vector<std::string> tables_;

    /// By the entity's part of the types of its events.
    std::map<std::string, ReplicaWatch*, std::less<>> watches_;

    /// All tables as JSON.
    std::string as_json_;

    /// What the owner's commits left, oldest first, and which of it was seen here last.
    std::vector<std::string> committed_;
    std::size_t seen_ = 0;

    /// They are filled one by one, and belong together once the last one is.
    bool were_live_ = false;
};

}  // namespace instep::simulation
