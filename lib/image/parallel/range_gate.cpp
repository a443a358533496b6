#include "image/parallel/range_gate.hpp"

namespace openvhd {

bool RangeGate::blocked(std::list<Passage>::iterator mine) noexcept {
  for (auto other = passages_.begin(); other != mine; ++other) {
    const bool overlap = other->begin < mine->end && mine->begin < other->end;
    if (overlap && (other->alone || mine->alone)) return true;
  }
  return false;
}

std::list<RangeGate::Passage>::iterator RangeGate::enter(const Passage& passage) {
  std::unique_lock lock{mutex_};
  const auto mine = passages_.insert(passages_.end(), passage);
  while (blocked(mine)) {
    ++waiting_;
    left_.wait(lock);
    --waiting_;
  }
  return mine;
}

void RangeGate::leave(std::list<Passage>::iterator at) noexcept {
  const std::scoped_lock lock{mutex_};
  passages_.erase(at);
  if (waiting_ != 0) left_.notify_all();
}

}  // namespace openvhd
