#include "bench/bench.hpp"

#include "bench/user_table.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <sys/resource.h>
#include <thread>

namespace instep::bench {

Seconds time_of(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::steady_clock::now() - start;
}

double peak_memory_mib() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

Seconds cpu_time() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return Seconds(static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void wait_until(const std::function<bool()>& check) {
    while (!check()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
}

System::System(std::size_t replicas) : System(SystemOptions{replicas, user_entry()}) {}

System::System(const SystemOptions& options) {
    const auto database_of = [&](const std::string& name) {
        return options.make_database ? options.make_database(name)
                                     : "sqlite:" + dir.file(name + ".db");
    };
    owner_.name = "iam";
    owner_.database = database_of(owner_.name);
    owner_.broker = without_broker           ? "direct:"
                    : options.broker.empty() ? "embedded:" + dir.file("broker.db")
                                             : options.broker;
    owner_.publish = {options.publish};
    for (std::size_t i = 0; i < options.replicas; ++i) {
        ServiceConfig config;
        config.name = fmt::format("replica{}", i + 1);
        config.database = database_of(config.name);
        config.broker = owner_.broker;
        config.replicas = {
            {config.name, "iam." + options.publish.entity, options.replica_table, {}}};
        replicas_.push_back(std::move(config));
    }
    brokers_.know({&owner_, 1});
}

System::~System() { stop(); }

void System::start(const ServiceConfig& config) {
    must(apply_service(config, clock, {}));
    services_.push_back(must(Service::create(config, surroundings_)));
    services_.back()->start();
}

void System::start_owner() { start(owner_); }

void System::start_replicas() {
    for (const ServiceConfig& config : replicas_) {
        start(config);
    }
}

void System::start_replica(std::size_t index) { start(replicas_[index]); }

void System::stop() {
    for (auto& service : services_) {
        must(service->stop(std::chrono::seconds(30)));
    }
    services_.clear();
}

std::unique_ptr<Connection> System::connect(const std::string& url) {
    databases_.push_back(must(open_database(url, clock, MissingDatabase::kCreate)));
    return must(databases_.back()->connect());
}

std::unique_ptr<Connection> System::connect_owner() { return connect(owner_.database); }

std::unique_ptr<Connection> System::connect_replica(std::size_t index) {
    return connect(replicas_[index].database);
}

std::unique_ptr<Connection> System::connect_file(const std::string& name) {
    return connect("sqlite:" + dir.file(name));
}

std::unique_ptr<Connection> System::copy_replica(const std::string& name) {
    std::string table;
    {
        auto replica = connect_replica(0);
        auto rows =
            must(replica->query("SELECT sql FROM sqlite_schema WHERE name = 'lookup_users'", {}));
        must(rows->next());
        table = rows->text(0);
    }
    auto copy = connect_file(name);
    must(copy->execute_script(fmt::format(
        "{}; ATTACH '{}' AS source; INSERT INTO lookup_users SELECT * FROM source.lookup_users "
        "ORDER BY id; DETACH source",
        table, dir.file(replicas_.front().name + ".db"))));
    return copy;
}

bool System::caught_up() {
    auto owner = connect_owner();
    if (!without_broker && must(log_lag(*owner, "relay")).events > 0) {
        return false;
    }
    const std::string& topic = replicas_.front().replicas.front().topic;
    for (const SubscriptionLag& lag : must(broker().lag(topic))) {
        if (lag.events > 0) {
            return false;
        }
    }
    for (std::size_t i = 0; i < replicas_.size(); ++i) {
        if (!is_live(*connect_replica(i))) {
            return false;
        }
    }
    return true;
}

bool System::is_live(Connection& replica) {
    const auto replicas = must(list_replicas(replica));
    return !replicas.empty() && replicas.front().state == ReplicaState::kLive;
}

}  // namespace instep::bench
