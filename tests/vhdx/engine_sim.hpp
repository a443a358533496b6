/// An engine over a simulated disk: what went to the file, what fails, what is left.
#pragma once

#include <algorithm>
#include <memory>

#include "support/sim_file.hpp"
#include "vhdx/engine_fixture.hpp"

namespace openvhd::test {

class SimEngine {
 public:
  explicit SimEngine(const EngineShape& shape) : SimEngine{shape, make_image(shape)} {}
  SimEngine(const EngineShape& shape, const std::shared_ptr<MemoryStore>& store)
      : shape_{shape}, disk_{std::make_shared<SimDisk>(*store)} {
    open();
  }

  /// As after a killed process: what reached the file is there.
  void reopen(bool writable = true) {
    disk_->clear_faults();
    open(writable);
  }

  OpenEngine& image() { return *image_; }
  OpenEngine* operator->() { return image_.get(); }
  SimDisk& disk() { return *disk_; }
  MemoryStore& store() { return disk_->now(); }
  std::uint64_t entry(std::uint64_t index) {
    return stored_entry(std::make_shared<MemoryStore>(disk_->now()), shape_, index);
  }

  /// Successful commands of one kind since mark().
  void mark() { from_ = disk_->ops().size(); }
  std::size_t count(IoCommand::Kind kind) const {
    return static_cast<std::size_t>(
        std::count_if(begin(), disk_->ops().end(),
                      [&](const SimDisk::Op& op) { return op.kind == kind && op.result >= 0; }));
  }
  std::size_t changes() const {
    return static_cast<std::size_t>(
        std::count_if(begin(), disk_->ops().end(),
                      [](const SimDisk::Op& op) { return op.kind != IoCommand::Kind::read; }));
  }
  /// Waits for stable storage: syncs and durable writes.
  std::size_t waits() const {
    return static_cast<std::size_t>(std::count_if(
        begin(), disk_->ops().end(),
        [](const SimDisk::Op& op) { return op.kind == IoCommand::Kind::sync || op.durable; }));
  }

 private:
  std::vector<SimDisk::Op>::const_iterator begin() const {
    return disk_->ops().begin() + static_cast<std::ptrdiff_t>(from_);
  }
  void open(bool writable = true) {
    image_.reset();
    image_ = std::make_unique<OpenEngine>(nullptr, shape_, writable, [&](std::unique_ptr<File>) {
      return std::make_unique<SimFile>(disk_, writable);
    });
    mark();
  }

  EngineShape shape_;
  std::shared_ptr<SimDisk> disk_;
  std::unique_ptr<OpenEngine> image_;
  std::size_t from_ = 0;
};

}  // namespace openvhd::test
