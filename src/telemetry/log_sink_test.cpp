#include "instep/telemetry/log_sink.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace instep {
namespace {

TEST(FileLogSink, KeepsTheLinesOfSeveralThreadsWhole) {
    constexpr std::size_t kThreads = 4;
    constexpr std::size_t kLines = 200;
    constexpr std::size_t kLength = 80;
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    {
        FileLogSink sink(ends[1]);
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < kThreads; ++i) {
            threads.emplace_back([&sink, letter = static_cast<char>('a' + i)] {
                const std::string line = std::string(kLength - 1, letter) + '\n';
                for (std::size_t j = 0; j < kLines; ++j) {
                    sink.write(line);
                }
            });
        }
        std::string line(kLength, '\0');
        for (std::size_t i = 0; i < kThreads * kLines; ++i) {
            ASSERT_EQ(read(ends[0], line.data(), kLength), ssize_t{kLength});
            EXPECT_EQ(line, std::string(kLength - 1, line[0]) + '\n');
        }
    }
    close(ends[0]);
    close(ends[1]);
}

TEST(FileLogSink, DropsLinesThatCannotBeWritten) {
    FileLogSink sink(-1);
    sink.write("lost\n");
}

}  // namespace
}  // namespace instep
