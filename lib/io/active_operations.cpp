#include "io/active_operations.hpp"

#include <algorithm>

namespace openvhd {

void ActiveOperations::watch(Readers& readers) noexcept {
  readers_ = &readers;
  moves_.fill(serial_);
}

void ActiveOperations::enter(OperationTicket& ticket) noexcept {
  ticket.serial = ++serial_;
  ticket.previous = last_;
  ticket.next = nullptr;
  (last_ == nullptr ? first_ : last_->next) = &ticket;
  last_ = &ticket;
  ++count_;
}

void ActiveOperations::leave(OperationTicket& ticket) noexcept {
  (ticket.previous == nullptr ? first_ : ticket.previous->next) = ticket.next;
  (ticket.next == nullptr ? last_ : ticket.next->previous) = ticket.previous;
  ticket.previous = nullptr;
  ticket.next = nullptr;
  --count_;
}

std::uint64_t ActiveOperations::oldest() noexcept {
  const std::uint64_t oldest = first_ == nullptr ? kNone : first_->serial;
  if (readers_ == nullptr) return oldest;
  // With nobody transferring, as many moves as it takes succeed at once.
  for (unsigned move = 0; move < Readers::kMovesUntilOver && readers_->advance(); ++move) {
    std::ranges::rotate(moves_, moves_.begin() + 1);
    moves_.back() = ++serial_;
  }
  // What was freed before the oldest of these moves has seen all of them.
  return std::min(oldest, moves_.front());
}

}  // namespace openvhd
