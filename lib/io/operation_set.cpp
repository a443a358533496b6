#include "io/operation_set.hpp"

#include <exception>

namespace openvhd {

OperationSet::OperationSet(std::uint32_t depth) : places_(depth), finished_(depth) {
  free_.reserve(depth);
  for (std::uint32_t i = depth; i > 0; --i) free_.push_back(i - 1);
}

void OperationSet::add(Operation& operation, std::span<File* const> files) noexcept {
  if (free_.empty()) std::terminate();
  Place& place = places_[free_.back()];
  free_.pop_back();
  place.operation = &operation;
  place.files = files;
  place.previous = last_;
  (last_ == nullptr ? first_ : last_->next) = &place;
  last_ = &place;
  ++unfinished_;
}

File& OperationSet::file_of(const Place& place, const IoCommand& command) noexcept {
  if (command.layer >= place.files.size()) std::terminate();
  return *place.files[command.layer];
}

bool OperationSet::retire(Place& place) noexcept {
  if (!place.operation->finished()) return false;
  // An outcome with commands in flight would let the caller free what the kernel still uses.
  if (place.in_flight != 0) std::terminate();
  finished_[(finished_first_ + finished_count_) % finished_.size()] = place.operation;
  ++finished_count_;
  --unfinished_;
  free_.push_back(static_cast<std::uint32_t>(&place - places_.data()));
  (place.previous == nullptr ? first_ : place.previous->next) = place.next;
  (place.next == nullptr ? last_ : place.next->previous) = place.previous;
  place = Place{};
  return true;
}

Operation* OperationSet::take_finished() noexcept {
  if (finished_count_ == 0) return nullptr;
  Operation* const operation = finished_[finished_first_];
  finished_first_ = (finished_first_ + 1) % finished_.size();
  --finished_count_;
  return operation;
}

}  // namespace openvhd
