/// Named files on which operations over whole chains work: opened, made, removed. A seam
/// of its own, so that tests can cut the power between any two steps.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <openvhd/error.hpp>
#include <string>
#include <vector>

#include "io/file.hpp"
#include "io/locks.hpp"

namespace openvhd {

/// What changes names is durable, with its directory, when it returns Ok (RELIABILITY D7); when it
/// fails, or power is lost, the names are as they were or as they were meant to be. Blocks.
class ImageStore {
 public:
  ImageStore() = default;
  ImageStore(const ImageStore&) = delete;
  ImageStore& operator=(const ImageStore&) = delete;
  virtual ~ImageStore() = default;

  /// Opens an image; for writing where the lock is a writer's. Errors: as PosixFile::open().
  virtual Result<std::unique_ptr<File>> open(const std::string& path, Lock lock) = 0;

  /// Opens an image for writing, with a reader's lock: for who holds one already, on another open.
  virtual Result<std::unique_ptr<File>> open_to_change(const std::string& path) = 0;

  /// Makes a file: it has its name once `fill` has succeeded. Errors: invalid (something has the
  /// name), those of `fill`, io, no_space.
  using Fill = std::function<Status(File& file)>;
  virtual Status create(const std::string& path, const Fill& fill) = 0;

  /// A small text of the operator's: at most `most` bytes, an ordinary file that belongs to this
  /// user or to root and that not everybody may write. Errors: not_found, denied, corrupt (longer
  /// than that), io.
  virtual Result<std::string> read_text(const std::string& path, std::size_t most) = 0;
  /// Replaces the text, or makes it.
  virtual Status write_text(const std::string& path, const std::string& text) = 0;

  /// Errors: not_found, io.
  virtual Status remove(const std::string& path) = 0;

  virtual bool exists(const std::string& path) noexcept = 0;
  /// Names in a directory, sorted. Errors: not_found, denied, out_of_range (more than
  /// kMostNames), io.
  virtual Result<std::vector<std::string>> list(const std::string& directory) = 0;
  static constexpr std::size_t kMostNames = 100'000;
};

/// The host's.
class PosixStore final : public ImageStore {
 public:
  /// With `direct`, images avoid the page cache where the host allows.
  explicit PosixStore(bool direct) noexcept : direct_{direct} {}

  Result<std::unique_ptr<File>> open(const std::string& path, Lock lock) override;
  Result<std::unique_ptr<File>> open_to_change(const std::string& path) override;
  Status create(const std::string& path, const Fill& fill) override;
  Result<std::string> read_text(const std::string& path, std::size_t most) override;
  Status write_text(const std::string& path, const std::string& text) override;
  Status remove(const std::string& path) override;
  bool exists(const std::string& path) noexcept override;
  Result<std::vector<std::string>> list(const std::string& directory) override;

 private:
  bool direct_;
};

/// Whether anything has this name; a symbolic link that leads nowhere has it too.
bool name_exists(const std::string& path) noexcept;

/// "." for a plain name.
std::string directory_of(const std::string& path);
std::string leaf_of(const std::string& path);
/// `name` in the directory of `path`.
std::string beside(const std::string& path, const std::string& name);

}  // namespace openvhd
