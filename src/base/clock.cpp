#include "instep/base/clock.hpp"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <charconv>

namespace instep {

using std::chrono::duration_cast;
using std::chrono::microseconds;

Timestamp SystemClock::now() const {
    return std::chrono::time_point_cast<microseconds>(std::chrono::system_clock::now());
}

microseconds SystemClock::monotonic() const {
    return duration_cast<microseconds>(std::chrono::steady_clock::now().time_since_epoch());
}

std::string format_time(Timestamp time) {
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date{day};
    const std::chrono::hh_mm_ss clock{time - day};
    return fmt::format(FMT_COMPILE("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z"),
                       static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                       static_cast<unsigned>(date.day()), clock.hours().count(),
                       clock.minutes().count(), clock.seconds().count(),
                       clock.subseconds().count());
}

namespace {

/// Takes decimal digits and separators off the front of a text; one wrong step spoils it all.
class TimeScanner {
public:
    explicit TimeScanner(std::string_view text) : rest_(text) {}

    int digits(std::size_t count) {
        int value = 0;
        if (rest_.size() < count) {
            ok_ = false;
            return 0;
        }
        const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + count, value);
        ok_ = ok_ && error == std::errc{} && end == rest_.data() + count && rest_[0] != '-';
        rest_.remove_prefix(count);
        return value;
    }

    char one_of(std::string_view choices) {
        if (rest_.empty() || choices.find(rest_[0]) == std::string_view::npos) {
            ok_ = false;
            return '\0';
        }
        const char found = rest_[0];
        rest_.remove_prefix(1);
        return found;
    }

    microseconds fraction() {
        if (!rest_.starts_with('.')) {
            return microseconds{0};
        }
        rest_.remove_prefix(1);
        std::int64_t value = 0;
        std::size_t count = 0;
        while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9') {
            if (count < 6) {
                value = value * 10 + (rest_[0] - '0');
            }
            ++count;
            rest_.remove_prefix(1);
        }
        ok_ = ok_ && count >= 1 && count <= 9;
        for (; count < 6; ++count) {
            value *= 10;
        }
        return microseconds{value};
    }

    [[nodiscard]] bool finished() const { return ok_ && rest_.empty(); }

private:
    std::string_view rest_;
    bool ok_ = true;
};

}  // namespace

Result<Timestamp> parse_time(std::string_view text) {
    namespace chrono = std::chrono;
    TimeScanner scan(text);
    const int year = scan.digits(4);
    scan.one_of("-");
    const int month = scan.digits(2);
    scan.one_of("-");
    const int day = scan.digits(2);
    scan.one_of("Tt ");
    const int hour = scan.digits(2);
    scan.one_of(":");
    const int minute = scan.digits(2);
    scan.one_of(":");
    const int second = scan.digits(2);
    const microseconds fraction = scan.fraction();
    const char zone = scan.one_of("Zz+-");
    int offset_hours = 0;
    int offset_minutes = 0;
    if (zone == '+' || zone == '-') {
        offset_hours = scan.digits(2);
        scan.one_of(":");
        offset_minutes = scan.digits(2);
    }
    const auto unreadable = [text] {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("\"{}\" is not a time; write it as 2026-03-01T09:30:00Z", text));
    };
    const chrono::year_month_day date{chrono::year{year},
                                      chrono::month{static_cast<unsigned>(month)},
                                      chrono::day{static_cast<unsigned>(day)}};
    if (!scan.finished() || !date.ok() || hour > 23 || minute > 59 || second > 60 ||
        offset_hours > 23 || offset_minutes > 59) {
        return unreadable();
    }
    const chrono::minutes offset = chrono::hours{offset_hours} + chrono::minutes{offset_minutes};
    const Timestamp time = Timestamp{chrono::sys_days{date}} + chrono::hours{hour} +
                           chrono::minutes{minute} + chrono::seconds{second} + fraction -
                           (zone == '-' ? -offset : offset);
    // An offset at either end of the calendar leads to a year that cannot be written again.
    const chrono::year_month_day utc_date{chrono::floor<chrono::days>(time)};
    if (utc_date.year() < chrono::year{0} || utc_date.year() > chrono::year{9999}) {
        return unreadable();
    }
    return time;
}

}  // namespace instep
