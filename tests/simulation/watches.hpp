// The rules that consumers must keep at every commit, each seen from outside: by what stands in
// the consumer's database.
#pragma once

#include "instep/broker/broker.hpp"
#include "instep/replica/replica.hpp"
#include "tests/simulation/findings.hpp"
#include "tests/simulation/log_history.hpp"
#include "tests/simulation/sim_database.hpp"

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace instep::simulation {

/// One subscription. What a consumer acknowledges must be done or parked, and what it commits
/// it must hold the lease for.
class SubscriptionWatch {
public:
    SubscriptionWatch(SimDatabase& database, std::string subscription, Findings& findings)
        : database_(database), subscription_(std::move(subscription)), findings_(findings) {}
    virtual ~SubscriptionWatch() = default;

    /// To be called after each commit of the consumer's database.
    void after_commit();

    virtual void delivered(const Delivery& /*delivery*/) {}

    /// To be called for each event that is being acknowledged.
    void acknowledged(const Event& event);

    [[nodiscard]] const std::string& subscription() const { return subscription_; }
    [[nodiscard]] SimDatabase& database() const { return database_; }

protected:
    /// Checks what a commit changed.
    virtual void look() = 0;
    [[nodiscard]] virtual bool is_done(const Event& event) = 0;
    [[nodiscard]] Findings& findings() const { return findings_; }

private:
    void check_lease();
    [[nodiscard]] bool is_parked(std::string_view key) const;

    SimDatabase& database_;
    std::string subscription_;
    Findings& findings_;

    /// When the progress of each partition was last written.
    std::map<std::int64_t, std::int64_t> moved_us_;
};

/// A replica table. A key's version never goes back, deleted keys included, and every row is
/// what the source had at that version.
class ReplicaWatch final : public SubscriptionWatch {
public:
    /// `columns`: the owner's name and the local name of each column of the replica, the key
    /// first.
    ReplicaWatch(SimDatabase& database, const ReplicaDefinition& definition,
                 const std::vector<std::pair<std::string, std::string>>& columns,
                 LogHistory& source, Findings& findings);

    void delivered(const Delivery& delivery) override;

    /// All rows by key, as JSON in the owner's names.
    [[nodiscard]] std::map<std::string, std::string> rows() const;

    /// The same columns of the source's own table.
    [[nodiscard]] std::map<std::string, std::string> source_rows(SimDatabase& source,
                                                                 std::string_view table) const;

    /// Somebody meddles with the table: not checked until end_meddling().
    void begin_meddling() { meddled_ = true; }
    void end_meddling();

    bool is_done(const Event& event) override;

protected:
    void look() override;

private:
    struct Standing {
        Version version;
        bool present = false;
        std::string row;
    };
    using Standings = std::map<std::string, Standing, std::less<>>;

    [[nodiscard]] Standings read_standings() const;
    void check(const std::string& key, const Standing& standing);
    [[nodiscard]] std::string expected_row(const LogHistory::Entry& entry) const;

    std::string topic_;
    std::string table_;
    std::string row_json_;
    std::string source_row_json_;
    std::string event_row_json_;
    LogHistory& source_;
    Standings known_;

    /// Once the contract is in the database, the table is known. What came earlier is part of
    /// what the backfill brings.
    bool has_contract_ = false;
    std::set<std::string, std::less<>> early_;
    bool meddled_ = false;
};

/// The owner's subscription to scan requests.
class RequestsWatch final : public SubscriptionWatch {
public:
    using SubscriptionWatch::SubscriptionWatch;

protected:
    void look() override {}
    bool is_done(const Event& event) override;
};

}  // namespace instep::simulation
