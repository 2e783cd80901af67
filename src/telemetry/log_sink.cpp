#include "instep/telemetry/log_sink.hpp"

#include <cerrno>
#include <unistd.h>

namespace instep {

void FileLogSink::write(std::string_view line) {
    while (!line.empty()) {
        const ssize_t written = ::write(descriptor_, line.data(), line.size());
        if (written < 0 && errno != EINTR) {
            return;
        }
        line.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
    }
}

}  // namespace instep
