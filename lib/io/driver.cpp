#include "io/driver.hpp"

#include <atomic>
#include <exception>

#include "base/try.hpp"
#include "io/operation_set.hpp"
#include "io/pool_driver.hpp"
#include "io/uring_driver.hpp"

namespace openvhd {
namespace {

/// One command of each operation in turn, in the calling thread.
class BlockingDriver final : public Driver {
 public:
  explicit BlockingDriver(std::uint32_t depth) : operations_{depth} {}

  Status start(Operation& operation, std::span<File* const> files) noexcept override {
    if (operations_.full())
      return Error{.code = Errc::busy, .what = "as many operations as the driver's depth"};
    operations_.add(operation, files);
    return Ok{};
  }

  Operation* reap() noexcept override {
    while (!operations_.has_finished() && operations_.unfinished() > 0) {
      bool changed = false;
      for (OperationSet::Place* place = operations_.first(); place != nullptr;) {
        OperationSet::Place* const next = OperationSet::after(*place);
        if (advance(*place)) changed = true;
        place = next;
      }
      if (!changed) std::terminate();
    }
    return operations_.take_finished();
  }

  Operation* wait() noexcept override { return reap(); }
  Operation* wait_or_wake() noexcept override {
    if (Operation* const done = reap()) return done;
    woken_.wait(false);
    woken_.store(false);
    return nullptr;
  }
  void wake() noexcept override {
    woken_.store(true);
    woken_.notify_one();
  }
  int descriptor() noexcept override { return -1; }
  std::uint32_t under_way() const noexcept override { return operations_.under_way(); }
  const char* name() const noexcept override { return "blocking"; }

 private:
  bool advance(OperationSet::Place& place) noexcept {
    const auto command = place.operation->next();
    if (command) {
      File& file = OperationSet::file_of(place, *command);
      place.operation->complete(command->slot, file.execute(*command));
    }
    return operations_.retire(place) || command;
  }

  OperationSet operations_;
  std::atomic<bool> woken_{false};
};

}  // namespace

Result<std::unique_ptr<Driver>> make_driver(DriverKind kind, std::uint32_t depth) {
  if (depth == 0 || depth > kMaxDriverDepth)
    return Error{.code = Errc::invalid, .what = "depth of a driver"};
  if (kind != DriverKind::blocking) {
    auto driver = UringDriver::create(depth);
    if (driver) return std::unique_ptr<Driver>{*std::move(driver)};
    if (kind == DriverKind::io_uring) return driver.error();
  }
  return std::unique_ptr<Driver>{std::make_unique<BlockingDriver>(depth)};
}

Result<std::unique_ptr<Driver>> make_owner_driver(DriverKind kind, std::uint32_t depth) {
  if (kind != DriverKind::blocking) return make_driver(kind, depth);
  OVHD_TRY(auto driver, PoolDriver::create(depth));
  return std::unique_ptr<Driver>{std::move(driver)};
}

Status run(Driver& driver, Operation& operation, std::span<File* const> files) noexcept {
  if (driver.under_way() != 0) std::terminate();
  OVHD_CHECK(driver.start(operation, files));
  if (driver.wait() != &operation) std::terminate();
  return *operation.finished();
}

}  // namespace openvhd
