#include "vhdx/bat_cache.hpp"

#include <algorithm>

namespace openvhd::vhdx {

TableCache::TableCache(std::uint64_t budget_bytes) noexcept
    : budget_{std::max<std::size_t>(kMinPages, budget_bytes / kTablePageBytes)} {}

Step<TablePage*> TableCache::get(PageHome& home, FileOffset at, bool is_bitmap) noexcept {
  if (TablePage* page = in_memory(home)) {
    frame_of(*page).used = call_;
    return page;
  }
  Frame* frame = pending(home);
  if (frame != nullptr && frame->state == State::failed) {
    const Error error = frame->load->error();
    std::erase(pending_, frame->page.frame);
    release(*frame);
    return error;
  }
  if (frame == nullptr) {
    frame = acquire(home, at, is_bitmap);
    if (frame == nullptr) return Wait{};
    frame->state = State::loading;
    frame->load.emplace(IoCommand::Kind::read, at,
                        std::vector<iovec>{{frame->page.words.data(), kTablePageBytes}}, false,
                        is_bitmap ? "sector bitmap (2.4.2): read" : "BAT (2.5): read");
    pending_.push_back(frame->page.frame);
  }
  if (frame->load->state() != Transfer::State::ready) return Wait{};
  return frame->load->start(make_token(TokenKind::table_page, frame->page.frame));
}

TablePage* TableCache::make_zero(PageHome& home, FileOffset at) noexcept {
  if (TablePage* page = in_memory(home)) return page;
  Frame* frame = acquire(home, at, false);
  if (frame == nullptr) return nullptr;
  for (TableWord& word : frame->page.words) word.store(0, std::memory_order_relaxed);
  publish(frame->page);
  return &frame->page;
}

TablePage* TableCache::complete(std::uint64_t index, std::int32_t result) noexcept {
  Frame& frame = *frames_[index];
  frame.load->complete(result);
  if (frame.load->state() == Transfer::State::failed) frame.state = State::failed;
  return frame.load->state() == Transfer::State::done ? &frame.page : nullptr;
}

void TableCache::publish(TablePage& page) noexcept {
  Frame& frame = frame_of(page);
  std::erase(pending_, page.frame);
  frame.state = State::ready;
  frame.load.reset();
  frame.used = call_;
  page.referenced.store(true, std::memory_order_relaxed);
  frame.home->store(&page, std::memory_order_release);
}

void TableCache::mark_dirty(TablePage& page, std::uint64_t index) noexcept {
  const std::uint64_t sector = index * sizeof(TableWord) / kLogSectorBytes;
  if (page.dirty == 0) {
    dirty_pages_.push_back(&page);
    if (!is_pinned(page)) ++pinned_;
  }
  page.dirty = static_cast<std::uint16_t>(page.dirty | 1u << sector);
}

void TableCache::clean(TablePage& page) noexcept {
  if (page.dirty == 0) return;
  page.dirty = 0;
  if (!is_pinned(page)) --pinned_;
}

void TableCache::pin(TablePage& page) noexcept {
  if (!is_pinned(page)) ++pinned_;
  ++page.journaled;
}

void TableCache::unpin(TablePage& page) noexcept {
  --page.journaled;
  if (!is_pinned(page)) --pinned_;
}

TableCache::Frame* TableCache::pending(const PageHome& home) noexcept {
  const auto found = std::ranges::find_if(
      pending_, [&](std::size_t index) { return frames_[index]->home == &home; });
  return found == pending_.end() ? nullptr : frames_[*found].get();
}

TableCache::Frame* TableCache::acquire(PageHome& home, FileOffset at, bool is_bitmap) noexcept {
  if (free_.empty()) reclaim();
  if (free_.empty() && held() >= capacity()) {
    evict();
    reclaim();
  }
  Frame* frame = nullptr;
  if (!free_.empty()) {
    frame = frames_[free_.back()].get();
    free_.pop_back();
  } else {
    // Waiting helps only while a load is on its way; what is pinned stays until a commit.
    const bool loading = std::ranges::any_of(pending_, [this](std::size_t index) {
      return frames_[index]->load->state() == Transfer::State::in_flight;
    });
    if (held() >= capacity() && loading) return nullptr;
    if (vacant_.empty()) {
      vacant_.push_back(frames_.size());
      frames_.emplace_back();
    }
    const std::size_t number = vacant_.back();
    vacant_.pop_back();
    frames_[number] = std::make_unique<Frame>();
    frame = frames_[number].get();
    frame->page.frame = number;
  }
  frame->home = &home;
  frame->used = call_;
  frame->page.at = at;
  frame->page.is_bitmap = is_bitmap;
  return frame;
}

void TableCache::evict() noexcept {
  // Looking at every page is slow, so several leave at once. There are always as many that
  // nobody waits for: kMinPages, and one for each operation.
  static_assert(kEvictedAtOnce <= kMinPages);
  if (limbo_.size() >= kMostInLimbo) return;
  candidates_.clear();
  for (const auto& frame : frames_) {
    if (!frame || frame->state != State::ready || is_pinned(frame->page)) continue;
    if (frame->page.referenced.load(std::memory_order_relaxed)) {
      frame->page.referenced.store(false, std::memory_order_relaxed);
      frame->used = std::max(frame->used, call_ - 1);
    }
    if (frame->used != call_) candidates_.push_back(frame.get());
  }
  const std::size_t count = std::min(kEvictedAtOnce, candidates_.size());
  const auto last = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  std::ranges::partial_sort(candidates_, last, {}, &Frame::used);
  for (auto frame = candidates_.begin(); frame != last; ++frame) {
    (*frame)->home->store(nullptr, std::memory_order_release);
    (*frame)->state = State::retired;
    if (readers_ == nullptr) release(**frame);
  }
  if (readers_ == nullptr || count == 0) return;
  const std::uint64_t retired = readers_->retire();
  for (auto frame = candidates_.begin(); frame != last; ++frame) {
    limbo_.push_back({*frame, retired});
  }
}

void TableCache::reclaim() noexcept {
  while (!limbo_.empty() && readers_->passed(limbo_.front().retired)) {
    const std::uint64_t passed = limbo_.front().retired;
    while (!limbo_.empty() && limbo_.front().retired == passed) {
      Frame& frame = *limbo_.front().frame;
      limbo_.pop_front();
      release(frame);
    }
  }
}

void TableCache::release(Frame& frame) noexcept {
  const std::size_t number = frame.page.frame;
  if (held() > capacity()) {
    frames_[number].reset();
    vacant_.push_back(number);
    return;
  }
  frame.state = State::free;
  frame.load.reset();
  free_.push_back(number);
}

}  // namespace openvhd::vhdx
