/// A directory of its own for a test, removed with all that is in it.
#pragma once

#include <filesystem>
#include <string>

namespace openvhd::test {

class TempDir {
 public:
  /// In TMPDIR, or /tmp.
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  const std::filesystem::path& path() const { return path_; }
  /// The path of an entry in it.
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace openvhd::test
