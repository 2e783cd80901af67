// An owner of members and replicas of them, each with a database on one server.
#pragma once

#include "bench/bench.hpp"
#include "bench/postgres/member_table.hpp"
#include "bench/postgres/server.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace instep::bench {

class MemberSystem {
public:
    /// Makes the owner's table with `rows` members; nothing is started. `broker` is a URL; empty:
    /// an embedded one.
    MemberSystem(std::size_t replicas, std::int64_t rows, const std::string& broker = {});

    /// Starts a replica and waits until it is filled.
    void fill_replica(std::size_t index);

    /// Sets one member's note to `mark`, behind everything that was written before, and returns
    /// when a replica has it.
    void wait_for_mark(std::size_t replica, const std::string& mark);
    void write_mark(const std::string& mark);

    /// Throws unless the replica holds the owner's rows.
    void check_replica(std::size_t index);

    std::unique_ptr<test::PostgresServer> server;
    System system;
    Session owner;
};

}  // namespace instep::bench
