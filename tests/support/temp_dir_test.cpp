#include "tests/support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <fstream>

namespace instep::test {
namespace {

TEST(TempDirTest, IsAnotherFolderEachTime) {
    const TempDir one;
    const TempDir other;
    EXPECT_TRUE(std::filesystem::is_directory(one.path()));
    EXPECT_NE(one.path(), other.path());
}

TEST(TempDirTest, IsRemovedWithEverythingInIt) {
    std::filesystem::path path;
    {
        const TempDir folder;
        path = folder.path();
        std::filesystem::create_directory(path / "inner");
        std::ofstream(folder.file("inner/file")) << "text";
    }
    EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace instep::test
