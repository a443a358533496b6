/// Keeps writes in parts of sectors apart from writes beside them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>

namespace openvhd {

/// A write in parts of a sector reads the sector, changes it and writes all of it: what another
/// write puts into the same sector meanwhile would be lost. So such a write passes alone: it waits
/// for those that touch its sectors and came before it, and holds up those that come after. Writes
/// of whole sectors do not wait for each other.
class RangeGate {
 public:
  /// A range that is being written.
  struct Passage {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    bool alone = false;
  };

  /// Passes from here to its end.
  class Hold {
   public:
    Hold(RangeGate& gate, const Passage& passage) : gate_{gate}, at_{gate.enter(passage)} {}
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() { gate_.leave(at_); }

   private:
    RangeGate& gate_;
    std::list<Passage>::iterator at_;
  };

 private:
  /// Waits until no earlier passage is in the way. Earlier ones never wait for later ones, so that
  /// there is always one that goes on.
  std::list<Passage>::iterator enter(const Passage& passage);
  void leave(std::list<Passage>::iterator at) noexcept;
  bool blocked(std::list<Passage>::iterator mine) noexcept;

  std::mutex mutex_;
  std::condition_variable left_;
  std::list<Passage> passages_;  // in the order in which they came
  unsigned waiting_ = 0;
};

}  // namespace openvhd
