#include "bench/postgres/member_system.hpp"

#include <fmt/format.h>

namespace instep::bench {

namespace {

const std::string kReplica = "members";

SystemOptions options(std::size_t replicas, const test::PostgresServer& server,
                      const std::string& broker) {
    SystemOptions options;
    options.replicas = replicas;
    options.broker = broker;
    options.publish = member_entry("members");
    options.replica_table = kReplica;
    options.make_database = [&server](const std::string& name) {
        return make_database(server, name);
    };
    return options;
}

}  // namespace

MemberSystem::MemberSystem(std::size_t replicas, std::int64_t rows, const std::string& broker)
    : server(start_server({"track_commit_timestamp = on"})),
      system(options(replicas, *server, broker)),
      owner(system.owner_url()) {
    create_members(owner, "members");
    insert_members(owner, "members", 1, rows);
    owner.run("VACUUM ANALYZE members");
}

void MemberSystem::fill_replica(std::size_t index) {
    auto replica = system.connect_replica(index);
    system.start_replica(index);
    wait_until([&] { return system.is_live(*replica); });
}

void MemberSystem::write_mark(const std::string& mark) {
    owner.run(fmt::format("UPDATE members SET note = '{}' WHERE id = 1", mark));
}

void MemberSystem::wait_for_mark(std::size_t replica, const std::string& mark) {
    Session session(system.replica_url(replica));
    session.prepare("mark", fmt::format("SELECT 1 FROM {} WHERE id = 1 AND note = $1", kReplica));
    wait_until([&] { return PQntuples(session.run_prepared("mark", {mark}).get()) == 1; });
}

void MemberSystem::check_replica(std::size_t index) {
    Session replica(system.replica_url(index));
    const std::string expected = member_checksum(owner, "members");
    const std::string found = member_checksum(replica, kReplica);
    if (found != expected) {
        throw std::runtime_error(
            fmt::format("the replica holds {}, the owner {}", found, expected));
    }
}

}  // namespace instep::bench
