/// A file of a layer that may be opened again on the same descriptor, lock included.
#pragma once

#include <memory>
#include <utility>

#include "io/borrowed_file.hpp"

namespace openvhd {

/// Owns a share of the file that it hands everything on to.
class KeptFile final : public BorrowedFile {
 public:
  explicit KeptFile(std::shared_ptr<File> file) noexcept
      : BorrowedFile{*file}, file_{std::move(file)} {}
  const std::shared_ptr<File>& shared() const noexcept { return file_; }

 private:
  std::shared_ptr<File> file_;
};

}  // namespace openvhd
