#include "snapshot/online/store_in_use.hpp"

#include <utility>

#include "base/try.hpp"
#include "image/live/kept_file.hpp"

namespace openvhd::snapshot {

Result<std::unique_ptr<LentFile>> LentFile::take(std::unique_ptr<File> file,
                                                 std::shared_ptr<File> holder) {
  // The new open has a reader's lock by now: nobody who writes gets in between.
  OVHD_CHECK(holder->change_lock(Lock::none));
  if (const Status alone = file->change_lock(Lock::writer); !alone) {
    OVHD_CHECK(holder->change_lock(Lock::reader));
    return alone.error();
  }
  return std::make_unique<LentFile>(std::move(file), std::move(holder));
}

LentFile::~LentFile() {
  if (!holder_) return;
  // A reader may always come to readers. A host that fails here leaves an image without a lock.
  if (file_->change_lock(Lock::reader)) static_cast<void>(holder_->change_lock(Lock::reader));
}

Result<std::unique_ptr<File>> StoreInUse::open(const std::string& path, Lock lock) {
  if (lock != Lock::writer) return below_.open(path, lock);
  OVHD_TRY(const auto named, below_.open(path, Lock::none));
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (layers_[i]->identity() != named->identity()) continue;
    if (i == 0) return std::unique_ptr<File>{std::make_unique<KeptFile>(layers_[0])};
    OVHD_TRY(auto file, below_.open_to_change(path));
    OVHD_TRY(auto lent, LentFile::take(std::move(file), layers_[i]));
    return std::unique_ptr<File>{std::move(lent)};
  }
  return below_.open(path, lock);
}

}  // namespace openvhd::snapshot
