// A database of the simulation: the real SQLite backend, in memory, behind calls that yield
// and fail.
//
// All connections share one handle: transactions are serialised by a lock that fibers wait
// for, so SQLite never sees two at once and never blocks the thread. A crash drops the
// process's connections, which rolls back what they had open.
#pragma once

#include "instep/db/connection.hpp"
#include "instep/db/database.hpp"
#include "tests/simulation/chaos.hpp"

#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace instep::simulation {

/// A whole database as bytes: made once, copied for every run.
using DatabaseImage = std::string;

/// The image of an empty database after `setup`. The clock stands at VirtualClock::kStart.
DatabaseImage make_image(
    const std::function<Result<void>(Database& database, const Clock& clock)>& setup);

class SimDatabase final : public Database {
public:
    /// Borrows everything. SQLite's own 'now' is the clock of the scheduler of `chaos`, for
    /// the newest run of the thread.
    SimDatabase(std::string name, const DatabaseImage& image, Chaos& chaos);
    ~SimDatabase() override;

    Result<std::unique_ptr<Connection>> connect(ConnectOptions options) override;
    [[nodiscard]] std::string_view display_url() const override { return name_; }

    /// Without faults and without waiting: for checks. Use it from on_commit() or under lock().
    [[nodiscard]] Connection& inspect() const { return *inner_; }
    [[nodiscard]] Lock& lock() { return lock_; }

    /// Writes at once, unseen by on_commit(). Where inspect() may be used.
    void meddle(std::string_view sql, std::initializer_list<ValueView> parameters = {});

    /// Called after each commit that wrote, before anybody else can.
    void on_commit(std::function<void()> observer) { observer_ = std::move(observer); }

    [[nodiscard]] const Scheduler& scheduler() const { return chaos_.scheduler(); }

    /// The process that commits.
    [[nodiscard]] std::string_view committer() const { return chaos_.scheduler().current_name(); }

    /// True if the transaction that commits ran a writing statement that names `table`.
    [[nodiscard]] bool touched(std::string_view table) const;

private:
    friend class SimConnection;

    struct Close {
        void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
    };

    void note(std::string_view sql);
    void committed();

    std::string name_;
    Chaos& chaos_;
    Lock lock_;
    std::unique_ptr<sqlite3, Close> handle_;
    std::unique_ptr<Connection> inner_;
    std::function<void()> observer_;
    std::vector<std::string> written_;
    std::uint64_t commits_ = 0;
};

}  // namespace instep::simulation
