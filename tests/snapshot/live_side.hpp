/// Disks that are in use while their layers change, and what they may hold afterwards.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "snapshot/sim_chain.hpp"
#include "support/bytes.hpp"

namespace openvhd::test {

/// What was written to a disk, and what of that was promised to survive.
class History {
 public:
  explicit History(Contents start) : states_{{0, true, std::move(start)}} {}

  const Contents& now() const { return states_.back().contents; }
  void write(std::uint64_t tick, std::uint64_t at, std::span<const std::byte> bytes) {
    Contents next = now();
    std::ranges::copy(bytes, next.begin() + static_cast<std::ptrdiff_t>(at));
    states_.push_back({tick, false, std::move(next)});
  }
  /// A flush has succeeded before `tick`.
  void flushed(std::uint64_t tick) { states_.push_back({tick, true, now()}); }

  /// Every byte is what it was at the last flush before `tick`, or what was written since.
  ::testing::AssertionResult allows(const Contents& found, std::uint64_t tick) const {
    std::size_t base = 0;
    for (std::size_t i = 0; i < states_.size(); ++i)
      if (states_[i].flushed && states_[i].tick <= tick) base = i;
    if (found.size() != now().size()) return ::testing::AssertionFailure() << "another size";
    constexpr std::size_t kPage = 4096;
    for (std::size_t at = 0; at < found.size(); at += kPage) {
      const std::size_t end = std::min(at + kPage, found.size());
      if (!whole_page_known(found, at, end, base)) {
        for (std::size_t i = at; i < end; ++i)
          if (!whole_page_known(found, i, i + 1, base))
            return ::testing::AssertionFailure() << "byte " << i << " is none of its values";
      }
    }
    return ::testing::AssertionSuccess();
  }

 private:
  bool whole_page_known(const Contents& found, std::size_t at, std::size_t end,
                        std::size_t base) const {
    for (std::size_t s = states_.size(); s-- > base;)
      if (std::memcmp(&states_[s].contents[at], &found[at], end - at) == 0) return true;
    return false;
  }
  struct State {
    std::uint64_t tick = 0;
    bool flushed = false;
    Contents contents;
  };
  std::vector<State> states_;
};

/// What a check finds but for the copy of a VHD's footer, which the next change brings up to date.
inline std::vector<std::string> serious_errors(SimChain& chain, const std::string& name) {
  std::vector<std::string> out = chain.errors_in(name);
  std::erase_if(out,
                [](const std::string& text) { return text.starts_with("footer copy: differs"); });
  return out;
}

/// What survives at a cut: each way at every cut takes long, and is asked for.
inline std::vector<SimStore::Survivors> survivors_at(std::uint64_t tick) {
  using enum SimStore::Survivors;
  if (std::getenv("OPENVHD_LIVE_ALL") != nullptr) return {all, none, some};
  constexpr std::array kTurn{some, none, some, all};
  return {kTurn[tick % kTurn.size()]};
}

/// From `tick` on there is no space, or its command fails once.
inline void fail(SimStore& store, std::uint64_t tick, int error) {
  if (error == ENOSPC) {
    store.full_from(tick);
  } else {
    store.fail_at(tick, error);
  }
}

/// A simulated disk that is open for writing. What fails is not known to have happened, or not.
class LiveDisk {
 public:
  /// `opened`: for writing, by `chain`.
  /// Of a disk larger than `most` the history knows the front.
  LiveDisk(SimChain& chain, std::unique_ptr<detail::DiskState> opened,
           std::uint64_t most = std::uint64_t{8} << 20)
      : chain_{chain},
        disk_{detail::DiskState::wrap(std::move(opened))},
        front_{std::min(most, disk_.geometry().virtual_size)},
        history_{read_all()} {}

  Disk& disk() { return disk_; }
  detail::DiskState& state() { return detail::DiskState::of(disk_); }
  const History& history() const { return history_; }

  void write(std::uint64_t at, std::size_t length, std::uint64_t seed) {
    const auto bytes = pattern(length, seed);
    history_.write(tick(), at, bytes);
    done("write", at, length, disk_.write({at}, bytes));
  }
  void zero(std::uint64_t at, std::size_t length) {
    history_.write(tick(), at, std::vector<std::byte>(length));
    done("zero", at, length, disk_.zero({at}, length));
  }
  void flush() {
    const Status flushed = disk_.flush();
    note("flush", flushed);
    if (flushed) history_.flushed(tick());
  }
  void close() {
    const Status closed = disk_.close();
    note("close", closed);
    if (closed) history_.flushed(tick());
  }
  std::uint64_t tick() { return chain_.store().power().now(); }
  Contents read_all() {
    Contents out(front_);
    // The host fails once.
    if (!disk_.read({}, out)) static_cast<void>(disk_.read({}, out));
    return out;
  }

  /// What failed, where anything did.
  const std::string& failures() const { return failures_; }

 private:
  /// Whether a write that failed is there, only the disk can say.
  void done(const char* what, std::uint64_t at, std::size_t length, const Status& status) {
    note(what, status);
    std::vector<std::byte> bytes(length);
    if (!status && disk_.read({at}, bytes)) history_.write(tick(), at, bytes);
  }
  void note(const char* what, const Status& status) {
    if (!status) failures_ += std::string{what} + ": " + status.error().what + "; ";
  }
  SimChain& chain_;
  Disk disk_;
  std::uint64_t front_;
  History history_;
  std::string failures_;
};

}  // namespace openvhd::test
