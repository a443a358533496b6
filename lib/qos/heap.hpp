/// A heap of things that know their place in it: each may leave, or change its key, at any time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace openvhd::detail {

inline constexpr std::uint32_t kNotInHeap = std::numeric_limits<std::uint32_t>::max();

/// The smallest `key` first. `index` is a member that is the heap's, kNotInHeap at the start.
/// Everything takes O(log n), and no memory: reserve() does.
template <class T, auto key, auto index>
class Heap {
 public:
  /// For `most` of them.
  void reserve(std::size_t most) {
    if (items_.capacity() < most) items_.reserve(std::max(most, 2 * items_.capacity()));
  }
  bool empty() const noexcept { return items_.empty(); }
  T* top() const noexcept { return items_.empty() ? nullptr : items_.front(); }
  static bool holds(const T& item) noexcept { return item.*index != kNotInHeap; }

  void push(T& item) noexcept {
    item.*index = static_cast<std::uint32_t>(items_.size());
    items_.push_back(&item);
    rise(item.*index);
  }
  void remove(T& item) noexcept {
    const std::uint32_t at = std::exchange(item.*index, kNotInHeap);
    T* const last = items_.back();
    items_.pop_back();
    if (last == &item) return;
    put(*last, at);
    moved(*last);
  }
  /// Its key is another one.
  void moved(T& item) noexcept {
    rise(item.*index);
    sink(item.*index);
  }

 private:
  void put(T& item, std::uint32_t at) noexcept {
    items_[at] = &item;
    item.*index = at;
  }
  void rise(std::uint32_t at) noexcept {
    T& item = *items_[at];
    while (at != 0) {
      const std::uint32_t above = (at - 1) / 2;
      if (!(item.*key < items_[above]->*key)) break;
      put(*items_[above], at);
      at = above;
    }
    put(item, at);
  }
  void sink(std::uint32_t at) noexcept {
    T& item = *items_[at];
    for (;;) {
      std::size_t below = std::size_t{2} * at + 1;
      if (below >= items_.size()) break;
      if (below + 1 < items_.size() && items_[below + 1]->*key < items_[below]->*key) ++below;
      if (!(items_[below]->*key < item.*key)) break;
      put(*items_[below], at);
      at = static_cast<std::uint32_t>(below);
    }
    put(item, at);
  }

  std::vector<T*> items_;
};

}  // namespace openvhd::detail
