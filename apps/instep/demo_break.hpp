// `instep demo break`: does to a running system what nobody should, and shows what it does to
// the data.
#pragma once

#include "command.hpp"
#include "demo_proof.hpp"
#include "demo_recording.hpp"
#include "demo_system.hpp"
#include "interrupt.hpp"
#include "output.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instep::cli {

/// One breakage under way: what is told about it, what is promised, and whether that is kept.
class Breakage {
public:
    Breakage(DemoSystem& system, const Interrupt& interrupt)
        : system_(system), interrupt_(interrupt) {}

    [[nodiscard]] DemoSystem& system() { return system_; }

    /// A plain sentence; shown at once, or kept for the JSON.
    void tell(std::string sentence);

    /// Something that must hold, and does or does not.
    void promise(std::string text, bool kept);

    /// The counters to compare with in the end.
    Result<void> note_before();

    /// Waits until `done` holds of the system. Errors: kTimeout, naming `what`; kClosed.
    Result<SystemLook> wait_until(std::string_view what,
                                  const std::function<bool(const SystemLook&)>& done);

    /// Stops iam, publishes its newest `events` a second time in its relay's name, and starts it
    /// again, as if a relay had died long before it could note what it had published. iam must
    /// have been started alone.
    Result<void> publish_again(std::size_t events);

    /// Waits until all is still, compares, adds the promises that always hold.
    Result<void> finish();

    [[nodiscard]] bool ok() const;
    void show() const;
    [[nodiscard]] JsonObject to_json(std::string_view kind) const;

private:
    struct Promise {
        std::string text;
        bool kept = false;
    };

    DemoSystem& system_;
    const Interrupt& interrupt_;
    std::optional<TopicRecording> recording_;
    std::vector<std::string> story_;
    std::vector<Promise> promises_;
    SystemLook before_;
    SystemLook after_;
    Proof proof_;
};

/// The services that hold replicas, and the one that owns the users.
inline constexpr std::array<std::string_view, 3> kConsumers = {"data-owner", "processing", "admin"};
inline constexpr std::array<std::string_view, 1> kOwner = {"iam"};

/// The relay's process is killed in mid-stream and started again.
Result<void> break_by_killing_the_relay(Breakage& breakage);

/// A part of the topic is published a second time.
Result<void> break_by_duplicates(Breakage& breakage);

/// A row arrives that one replica's table refuses.
Result<void> break_by_poison(Breakage& breakage);

/// Backfills run while rows are changed and deleted.
Result<void> break_by_stale_backfill(Breakage& breakage);

/// Declares `break` below `demo`.
void add_demo_break(Command& demo, Context& context);

}  // namespace instep::cli
