// What a relay tells monitoring of its work.
#pragma once

#include "instep/base/clock.hpp"
#include "instep/broker/broker.hpp"
#include "instep/telemetry/telemetry.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace instep {

/// For one thread at a time.
class RelayInstruments {
public:
    /// Null: all of it has no effect. Otherwise it must outlive this.
    explicit RelayInstruments(const Telemetry* telemetry);

    /// When what is told of next began.
    [[nodiscard]] Timestamp now() const;

    /// The broker was given the batch, which began then.
    void published(const PublishBatch& batch, const PublishOutcome& outcome, Timestamp began);

private:
    struct TopicSeries {
        Counter& published;
        Histogram& delay;
    };

    TopicSeries& series_of(std::string_view topic);
    void record_spans(const PublishBatch& batch, const PublishOutcome& outcome, Timestamp began,
                      Timestamp ended) const;

    const Telemetry* telemetry_;
    Counter* failures_ = nullptr;
    Histogram* duration_ = nullptr;
    std::map<std::string, TopicSeries, std::less<>> topics_;
};

}  // namespace instep
