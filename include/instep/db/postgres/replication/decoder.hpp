// pgoutput's bytes as messages. Takes any bytes: what is not exactly one message is an error,
// never a read beyond the end, and nothing is allocated on the word of a length field.
#pragma once

#include "instep/base/error.hpp"
#include "instep/db/postgres/replication/message.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace instep::pgoutput {

/// Does no I/O and knows no tables. It keeps only room for the spans of its last message. For
/// one thread at a time.
class Decoder {
public:
    /// Exactly one message of protocol version 1. Its views point into `bytes`; its spans are
    /// valid until the next call.
    ///
    /// Errors: kCorrupt, with the kind of message and the place, without any of its content.
    Result<Message> decode(std::string_view bytes);

private:
    std::vector<Column> columns_;
    std::vector<Field> old_;
    std::vector<Field> row_;
    std::vector<std::uint32_t> oids_;
};

}  // namespace instep::pgoutput
