// One run: an owner on PostgreSQL whose table many writers change at once, and a replica on
// PostgreSQL and one on SQLite that must hold the same rows when all is quiet again.
//
// Meanwhile backfills and verifications are asked for all the time, two relays compete, relays
// and consumers are made anew, their server processes are ended and their leases taken
// away, and events are published again.
#pragma once

#include "instep/capture/capture.hpp"
#include "tests/stress/bad_relay.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace instep::stress {

struct StressOptions {
    /// How long there are writers.
    std::chrono::milliseconds time{6000};
    int writers = 12;
    int keys = 60;
    std::uint64_t seed = 1;

    /// Who takes the changes of the table.
    CaptureBy capture = CaptureBy::kTriggers;

    /// Instead of the relay, over the log that triggers write, with nothing that would bring its
    /// losses to light or heal them.
    std::optional<BadReader> bad_reader{};
};

struct StressResult {
    std::uint64_t transactions = 0;

    /// That the broker got, repeated ones among them.
    std::uint64_t events = 0;
    std::uint64_t backfills = 0;
    std::uint64_t verifications = 0;
    std::uint64_t disturbances = 0;

    /// Keys that differ at the end, by replica.
    std::uint64_t wrong_on_postgres = 0;
    std::uint64_t wrong_on_sqlite = 0;

    /// Rows whose version went back, in both replicas.
    std::uint64_t gone_back = 0;

    /// What verifications reported.
    std::uint64_t differences = 0;

    /// Epochs that began, although nothing was restored.
    std::uint64_t epochs_begun = 0;

    /// Why the run did not come to its end; empty if it did.
    std::string problem;

    /// The warnings and errors of all flows, one a line.
    std::string log;

    [[nodiscard]] std::uint64_t wrong() const { return wrong_on_postgres + wrong_on_sqlite; }
    [[nodiscard]] bool is_clean() const {
        return wrong() == 0 && gone_back == 0 && differences == 0 && epochs_begun == 0 &&
               problem.empty();
    }
};

/// Uses databases of its own on the shared server. Throws std::runtime_error if the run cannot
/// be set up.
StressResult run_stress(const StressOptions& options);

/// In one line.
std::string to_text(const StressResult& result);

}  // namespace instep::stress
