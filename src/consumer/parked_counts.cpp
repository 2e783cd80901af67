#include "instep/consumer/parked_counts.hpp"

namespace instep {

Result<std::vector<ParkedCounts>> count_parked(Connection& connection) {
    INSTEP_TRY_ASSIGN(const auto rows,
                      connection.query("SELECT subscription, count(*) - count(dead_us), "
                                       "count(dead_us) FROM instep_parked_key "
                                       "GROUP BY subscription ORDER BY subscription",
                                       {}));
    std::vector<ParkedCounts> all;
    for (;;) {
        INSTEP_TRY_ASSIGN(const bool more, rows->next());
        if (!more) {
            return all;
        }
        all.push_back({std::string(rows->text(0)), static_cast<std::uint64_t>(rows->integer(1)),
                       static_cast<std::uint64_t>(rows->integer(2))});
    }
}

}  // namespace instep
