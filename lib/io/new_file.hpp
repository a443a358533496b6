/// Making files so that a crash or a failure leaves what was there, or what was meant.
#pragma once

#include <memory>
#include <openvhd/error.hpp>
#include <string>

#include "base/fd.hpp"
#include "io/posix_file.hpp"

namespace openvhd {

/// A directory entry, held by its directory so that renaming a directory above changes nothing.
class DirectoryEntry {
 public:
  /// Opens the directory of `path`; the entry itself need not exist. Errors: not_found, denied,
  /// invalid (no file name at the end), io.
  static Result<DirectoryEntry> open(const std::string& path);

  const Fd& directory() const noexcept { return directory_; }
  const std::string& leaf() const noexcept { return leaf_; }

  /// The entry, as another name in the same directory.
  Status rename_from(const std::string& other_leaf) noexcept;
  /// The same, but only while nothing has this name. Errors: invalid (something has), io.
  Status take_free_name(const std::string& other_leaf) noexcept;
  Status remove(const std::string& leaf) noexcept;
  /// Makes renames, new names and removals durable (RELIABILITY D7).
  Status sync() noexcept;

 private:
  DirectoryEntry(Fd directory, std::string leaf) noexcept;
  Fd directory_;
  std::string leaf_;
};

/// A file on its way into being, locked against everybody else; removed unless commit() is
/// reached. It is written under a name of its own (".NAME.RANDOM.new") in the same directory, so
/// that a process that is killed leaves nothing under the name that was asked for. In commit() it
/// gets that name. Where it replaces another file, it takes its mode and owner too; until then the
/// other file is as it was, and is locked too. A block device is not replaced but written in
/// place, when overwriting is asked.
class NewFile {
 public:
  struct Options {
    bool overwrite = false;
    bool direct = false;
    /// Others may not write to a new file either, whatever the umask allows.
    bool guarded = false;
  };

  /// Errors: invalid (the file exists and `overwrite` was not asked), busy, not_found, denied,
  /// no_space, io.
  static Result<NewFile> create(const std::string& path, const Options& options);

  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  PosixFile& file() noexcept { return *file_; }

  /// Syncs the file, gives it its name, and makes the name durable. After a failure the old file,
  /// or none, is what there is, unless the directory could not be synced: then it is one of the
  /// two. Errors: invalid (there was no file to replace, and now there is one), no_space, io.
  Status commit() noexcept;

  /// The file, open and locked, for going on with it after commit().
  std::unique_ptr<PosixFile> take() && noexcept { return std::move(file_); }

 private:
  NewFile(DirectoryEntry entry, std::string temporary, std::unique_ptr<PosixFile> file,
          std::unique_ptr<PosixFile> replaced) noexcept;
  Status keep_mode_and_owner() noexcept;

  DirectoryEntry entry_;
  std::string temporary_;  // the name it has now; empty when there is nothing to remove
  std::unique_ptr<PosixFile> file_;
  std::unique_ptr<PosixFile> replaced_;
};

}  // namespace openvhd
