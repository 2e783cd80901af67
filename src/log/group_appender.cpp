#include "instep/log/group_appender.hpp"

#include <fmt/format.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace instep {

namespace {

struct Call {
    std::span<const NewEvent> events;
    ExpectedVersion expected;
    std::promise<Result<std::vector<Appended>>> outcome;
};

}  // namespace

class GroupAppender::Impl {
public:
    Impl(std::unique_ptr<Connection> connection, GroupAppenderOptions options)
        : connection_(std::move(connection)),
          options_(options),
          thread_([this](const std::stop_token& stop) { run(stop); }) {}

    Result<std::vector<Appended>> append(std::span<const NewEvent> events,
                                         ExpectedVersion expected) {
        Call call{events, expected, {}};
        auto outcome = call.outcome.get_future();
        {
            std::unique_lock lock(mutex_);
            room_.wait(lock, [this] { return waiting_.size() < options_.waiting_max; });
            waiting_.push_back(&call);
        }
        arrived_.notify_one();
        return outcome.get();
    }

private:
    void run(const std::stop_token& stop) {
        for (;;) {
            std::vector<Call*> group;
            {
                std::unique_lock lock(mutex_);
                arrived_.wait(lock, stop, [this] { return !waiting_.empty(); });
                if (waiting_.empty()) {
                    return;
                }
                group = take_group();
            }
            room_.notify_all();
            append_group(group);
        }
    }

    std::vector<Call*> take_group() {
        std::vector<Call*> group;
        std::size_t events = 0;
        while (group.size() < waiting_.size() &&
               (group.empty() ||
                events + waiting_[group.size()]->events.size() <= options_.group_events_max)) {
            events += waiting_[group.size()]->events.size();
            group.push_back(waiting_[group.size()]);
        }
        waiting_.erase(waiting_.begin(),
                       waiting_.begin() + static_cast<std::ptrdiff_t>(group.size()));
        return group;
    }

    void append_group(const std::vector<Call*>& group) {
        std::vector<Result<std::vector<Appended>>> outcomes;
        const Result<void> done = try_append(group, outcomes);
        for (std::size_t i = 0; i < group.size(); ++i) {
            if (done) {
                group[i]->outcome.set_value(std::move(outcomes[i]));
            } else {
                group[i]->outcome.set_value(std::unexpected(done.error()));
            }
        }
    }

    Result<void> try_append(const std::vector<Call*>& group,
                            std::vector<Result<std::vector<Appended>>>& outcomes) {
        INSTEP_TRY_ASSIGN(Transaction transaction,
                          Transaction::begin(*connection_, TransactionMode::kWrite));
        for (const Call* call : group) {
            INSTEP_TRY(transaction.set_savepoint());
            outcomes.push_back(instep::append(transaction, call->events, call->expected));
            if (!outcomes.back()) {
                INSTEP_TRY(transaction.rollback_to_savepoint());
            }
            INSTEP_TRY(transaction.release_savepoint());
        }
        return transaction.commit();
    }

    std::unique_ptr<Connection> connection_;
    const GroupAppenderOptions options_;
    std::mutex mutex_;
    std::condition_variable_any arrived_;
    std::condition_variable room_;
    std::vector<Call*> waiting_;
    std::jthread thread_;
};

GroupAppender::GroupAppender(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GroupAppender::~GroupAppender() = default;

Result<std::unique_ptr<GroupAppender>> GroupAppender::open(Database& database,
                                                           GroupAppenderOptions options) {
    if (options.waiting_max < 1 || options.waiting_max > 100'000 || options.group_events_max < 1 ||
        options.group_events_max > 10'000) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("group appender: waiting_max {} or group_events_max {} is out of "
                                "bounds",
                                options.waiting_max, options.group_events_max));
    }
    INSTEP_TRY_ASSIGN(auto connection, database.connect());
    return std::unique_ptr<GroupAppender>(
        new GroupAppender(std::make_unique<Impl>(std::move(connection), options)));
}

Result<std::vector<Appended>> GroupAppender::append(std::span<const NewEvent> events,
                                                    ExpectedVersion expected) {
    return impl_->append(events, expected);
}

}  // namespace instep
