// What changes the users while a demo runs: plain SQL in transactions of its own, as any
// application would send it.
#pragma once

#include "demo_directory.hpp"
#include "instep/base/clock.hpp"
#include "instep/base/error.hpp"
#include "instep/base/random.hpp"
#include "instep/concurrency/loop.hpp"
#include "instep/db/database.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace instep::cli {

/// The last change of a transaction, and when its commit had returned.
struct CommittedChange {
    std::string key;

    /// What the user's updated_at became, or would have become had it not been deleted. No two
    /// changes have the same.
    std::string updated_at;
    std::chrono::microseconds committed{0};
};

struct DemoWriterOptions {
    /// Changes a second; less if the disk is slower.
    std::uint64_t rate = 100;

    /// The number of the first user it makes.
    std::uint64_t first_number = 0;

    /// Called on the writer's thread after each commit; may be empty.
    std::function<void(const CommittedChange&)> committed;
};

/// Inserts, updates and deletes users, 30, 60 and 10 in a hundred, one to five in a
/// transaction. Owns one connection and one thread.
class DemoWriter {
public:
    /// Starts nothing; all but the options must outlive the writer.
    static Result<std::unique_ptr<DemoWriter>> create(Database& iam, const Clock& clock,
                                                      Random& random, Logger& logger,
                                                      DemoWriterOptions options);

    void start() { loop_.start(); }

    /// Finishes the transaction in flight. Errors: what kept it from writing, if that would not
    /// have passed.
    Result<void> stop();

private:
    DemoWriter(std::unique_ptr<Connection> connection, const Clock& clock, Random& random,
               Logger& logger, DemoWriterOptions options);

    Result<std::uint64_t> write_if_due();
    Result<std::uint64_t> write(std::uint64_t changes);

    /// Returns the key, or "" if there was no user to change.
    Result<std::string> change(Transaction& transaction, std::string_view now);
    Result<std::string> pick_user(Transaction& transaction);
    std::string next_time();
    void wait_until_due(const std::stop_token& stop);

    const std::unique_ptr<Connection> connection_;
    const Clock& clock_;
    Random& random_;
    const DemoWriterOptions options_;
    UserInserter inserter_;
    std::uint64_t next_number_;
    std::chrono::microseconds due_;
    Timestamp last_time_{};
    std::mutex waiting_;
    std::condition_variable_any never_;
    Loop loop_;
};

}  // namespace instep::cli
