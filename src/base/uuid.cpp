#include "instep/base/uuid.hpp"

#include "instep/base/bytes.hpp"

namespace instep {

std::string uuid_v7_from(Timestamp time, std::uint64_t high, std::uint64_t low) {
    const auto millis = static_cast<std::uint64_t>(
        std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count());
    std::string bytes;
    bytes.reserve(16);
    append_big_endian(bytes, (millis << 16U) | 0x7000U | (high & 0xFFFU));
    append_big_endian(bytes, (low & 0x3FFFFFFFFFFFFFFFU) | 0x8000000000000000U);
    std::string text = to_hex(bytes);
    for (const std::size_t place : {20U, 16U, 12U, 8U}) {
        text.insert(place, 1, '-');
    }
    return text;
}

std::string make_uuid_v7(const Clock& clock, Random& random) {
    return uuid_v7_from(clock.now(), random.next(), random.next());
}

}  // namespace instep
