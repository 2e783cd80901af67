// What the ways to read the log share.
#pragma once

#include "instep/log/reader.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace instep {

/// True if the reader gets the event.
bool is_read_by(const LogReaderOptions& options, std::string_view topic, std::string_view key);

/// The version of the last of the events that are confirmed, as a cursor keeps it.
class ConfirmedVersion {
public:
    ConfirmedVersion(const LogBatch& batch, std::size_t count)
        : bytes_(count == 0 ? "" : to_bytes(batch.events[count - 1].event.version)) {}

    /// NULL if none is confirmed.
    [[nodiscard]] ValueView value() const {
        return bytes_.empty() ? ValueView{} : ValueView{BlobView{bytes_}};
    }

private:
    std::string bytes_;
};

/// Puts chunks behind the batch's events.
void append_chunks(LogBatch& batch, std::vector<TopicEvent> chunks, std::string_view service,
                   const LogIdentity& identity);

/// The cursor was made for `standing` partitions.
std::unexpected<Error> partitions_changed(std::string_view reader, std::int64_t standing,
                                          std::uint32_t wanted);

/// The cursor, which must be there, is not.
std::unexpected<Error> cursor_is_gone(const LogReaderOptions& options);

}  // namespace instep
