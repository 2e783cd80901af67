#include "bench/postgres/updates.hpp"

#include <fmt/format.h>

#include <numeric>
#include <thread>

namespace instep::bench {

Updates::Updates(const std::string& url, const std::string& table, std::int64_t rows,
                 std::int64_t at_once, std::uint64_t seed)
    : session_(url), rows_(rows), at_once_(at_once), random_(seed) {
    session_.prepare("update",
                     fmt::format("UPDATE {} SET score = score + 1, email = 'member.' || id || '.' "
                                 "|| $2 WHERE id = {}",
                                 table, at_once == 1 ? "$1::bigint" : "ANY ($1::bigint[])"));
}

std::int64_t Updates::run_for(std::chrono::duration<double> time) {
    std::int64_t updated = 0;
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) {
        updated += run_once();
    }
    return updated;
}

std::int64_t Updates::run_once() {
    const std::string mark = fmt::format("{:x}", random_.below(4096));
    const Answer done = session_.run_prepared("update", {next_ids(), mark});
    return std::stoll(PQcmdTuples(done.get()));
}

std::string Updates::next_ids() {
    if (at_once_ == 1) {
        return std::to_string(1 + random_.below(static_cast<std::uint64_t>(rows_)));
    }
    std::string ids = "{";
    for (std::int64_t i = 0; i < at_once_; ++i) {
        ids += fmt::format("{}{}", i == 0 ? "" : ",",
                           1 + random_.below(static_cast<std::uint64_t>(rows_)));
    }
    return ids + "}";
}

Clients::Clients(const UpdateLoad& load) {
    for (int i = 0; i < load.clients; ++i) {
        clients_.push_back(std::make_unique<Updates>(load.url, load.table, load.rows, load.at_once,
                                                     load.seed + static_cast<std::uint64_t>(i)));
    }
}

std::int64_t Clients::run_for(std::chrono::duration<double> time) {
    std::vector<std::int64_t> updated(clients_.size());
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < clients_.size(); ++i) {
            threads.emplace_back([&, i] { updated[i] = clients_[i]->run_for(time); });
        }
    }
    return std::accumulate(updated.begin(), updated.end(), std::int64_t{0});
}

}  // namespace instep::bench
