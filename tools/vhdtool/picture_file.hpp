/// The file that `map --svg` writes.
#pragma once

#include <openvhd/error.hpp>
#include <string>

namespace vhdtool {

/// Takes new files, empty files and pictures, which it replaces as a whole, and pipes and
/// terminals, which it writes to. Nothing else is touched: a mistyped name must not cost an image.
class PictureFile {
 public:
  explicit PictureFile(std::string path) : path_{std::move(path)} {}
  PictureFile(const PictureFile&) = delete;
  PictureFile& operator=(const PictureFile&) = delete;
  ~PictureFile();

  /// What is wrong with the path, or nothing. Changes nothing and waits for nobody.
  std::string open();
  /// All of it or, in a file, nothing. Only after open(). Errc::cancelled on SIGINT or SIGTERM.
  openvhd::Status write(const std::string& text);

 private:
  openvhd::Status write_all(int descriptor, const std::string& text) const;
  openvhd::Status replace(const std::string& text) const;

  std::string path_;
  int stream_ = -1;  // a pipe or a terminal, non-blocking
};

}  // namespace vhdtool
