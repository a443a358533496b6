/// A store some of whose images this process has open itself, as layers of a disk in use.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "image/disk_state.hpp"
#include "io/borrowed_file.hpp"
#include "io/image_store.hpp"

namespace openvhd::snapshot {

/// An open for writing of a file that the disk in use has open for reading. The lock has come from
/// there, and goes back, if the disk does not take over this open itself.
class LentFile final : public BorrowedFile {
 public:
  /// Errors: busy (others hold the file), and then `holder` keeps its lock.
  static Result<std::unique_ptr<LentFile>> take(std::unique_ptr<File> file,
                                                std::shared_ptr<File> holder);
  LentFile(std::unique_ptr<File> file, std::shared_ptr<File> holder) noexcept
      : BorrowedFile{*file}, file_{std::move(file)}, holder_{std::move(holder)} {}
  ~LentFile() override;

  /// From now on this open is the disk's own.
  void keep() noexcept { holder_.reset(); }

 private:
  std::unique_ptr<File> file_;
  std::shared_ptr<File> holder_;
};

/// Hands everything on. A writer's lock on an image of the disk in use is lent by the disk; its
/// leaf, which has one, is the disk's own open.
class StoreInUse final : public ImageStore {
 public:
  /// `layers`: the files of the disk by layer. All borrowed.
  StoreInUse(ImageStore& below, std::vector<std::shared_ptr<File>> layers)
      : below_{below}, layers_{std::move(layers)} {}

  Result<std::unique_ptr<File>> open(const std::string& path, Lock lock) override;
  Result<std::unique_ptr<File>> open_to_change(const std::string& path) override {
    return below_.open_to_change(path);
  }
  Status create(const std::string& path, const Fill& fill) override {
    return below_.create(path, fill);
  }
  Result<std::string> read_text(const std::string& path, std::size_t most) override {
    return below_.read_text(path, most);
  }
  Status write_text(const std::string& path, const std::string& text) override {
    return below_.write_text(path, text);
  }
  Status remove(const std::string& path) override { return below_.remove(path); }
  bool exists(const std::string& path) noexcept override { return below_.exists(path); }
  Result<std::vector<std::string>> list(const std::string& directory) override {
    return below_.list(directory);
  }

 private:
  ImageStore& below_;
  std::vector<std::shared_ptr<File>> layers_;
};

}  // namespace openvhd::snapshot
