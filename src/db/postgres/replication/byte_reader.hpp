// Big-endian numbers and strings out of bytes that nobody has checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace instep::replication {

/// Once a read goes beyond the end, it and all later ones give 0 or nothing, and failed() is
/// true: a parser asks once, at its end, and in its loops.
class ByteReader {
public:
    explicit ByteReader(std::string_view bytes) : rest_(bytes), size_(bytes.size()) {}

    [[nodiscard]] bool failed() const noexcept { return failed_; }
    [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }
    [[nodiscard]] std::size_t position() const noexcept { return size_ - rest_.size(); }

    std::string_view bytes(std::size_t count) {
        if (failed_ || count > rest_.size()) {
            failed_ = true;
            return {};
        }
        const std::string_view taken = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return taken;
    }

    std::uint8_t u8() { return static_cast<std::uint8_t>(number(1)); }
    std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
    std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
    std::uint64_t u64() { return number(8); }
    std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
    std::int64_t i64() { return static_cast<std::int64_t>(u64()); }

    /// Up to a zero byte, which is taken too.
    std::string_view text() {
        const std::size_t end = rest_.find('\0');
        if (end == std::string_view::npos) {
            failed_ = true;
            return {};
        }
        const std::string_view taken = bytes(end);
        bytes(1);
        return taken;
    }

private:
    std::uint64_t number(std::size_t width) {
        std::uint64_t value = 0;
        for (const char byte : bytes(width)) {
            value = (value << 8U) | static_cast<std::uint8_t>(byte);
        }
        return value;
    }

    std::string_view rest_;
    std::size_t size_;
    bool failed_ = false;
};

}  // namespace instep::replication
