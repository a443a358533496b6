/// The operations that a driver has taken on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/file.hpp"
#include "io/io_command.hpp"

namespace openvhd {

/// A fixed number of places for operations, in order of starting, and those that have finished,
/// in order of finishing. Allocates only when it is made.
class OperationSet {
 public:
  struct Place {
    Operation* operation = nullptr;  ///< Null: free.
    std::span<File* const> files;
    std::uint32_t in_flight = 0;  ///< Commands that the driver has not completed yet.

   private:
    friend class OperationSet;
    Place* previous = nullptr;  // started before it
    Place* next = nullptr;
  };

  explicit OperationSet(std::uint32_t depth);

  bool full() const noexcept { return under_way() == places_.size(); }
  /// Without an outcome.
  std::uint32_t unfinished() const noexcept { return unfinished_; }
  /// Taken on and not given back.
  std::uint32_t under_way() const noexcept { return unfinished_ + finished_count_; }
  bool has_finished() const noexcept { return finished_count_ > 0; }

  /// Not when full().
  void add(Operation& operation, std::span<File* const> files) noexcept;

  /// The operations without an outcome, the one that started first in front: asking them in this
  /// order lets writes of a sequence allocate in that sequence. Null at the end. An operation may
  /// be retired once the one after it has been fetched.
  Place* first() noexcept { return first_; }
  static Place* after(const Place& place) noexcept { return place.next; }

  /// The file that a command of this operation is for.
  static File& file_of(const Place& place, const IoCommand& command) noexcept;

  /// Moves the operation to those that have finished and frees the place, if it has an outcome.
  bool retire(Place& place) noexcept;
  /// The one that has finished first; null when there is none.
  Operation* take_finished() noexcept;

 private:
  std::vector<Place> places_;
  std::vector<std::uint32_t> free_;
  Place* first_ = nullptr;
  Place* last_ = nullptr;
  std::vector<Operation*> finished_;  // a ring
  std::size_t finished_first_ = 0;
  std::uint32_t finished_count_ = 0;
  std::uint32_t unfinished_ = 0;
};

}  // namespace openvhd
