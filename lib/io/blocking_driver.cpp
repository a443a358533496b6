#include "io/blocking_driver.hpp"

#include <exception>

namespace openvhd {

Status run(Operation& operation, std::span<File* const> files) noexcept {
  while (true) {
    if (auto outcome = operation.finished()) return *std::move(outcome);
    const auto command = operation.next();
    if (!command) {
      // next() may have found that there is nothing left to do.
      if (auto outcome = operation.finished()) return *std::move(outcome);
      std::terminate();
    }
    if (command->layer >= files.size()) std::terminate();
    operation.complete(command->slot, files[command->layer]->execute(*command));
  }
}

Status run(Operation& operation, File& file) noexcept {
  File* const files[] = {&file};
  return run(operation, files);
}

}  // namespace openvhd
