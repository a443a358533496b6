// The yardstick for queues: requests of one size on a plain file through io_uring and nothing else,
// with the settings that suit it best: one issuer, deferred task work, the file and the ring
// registered, all of a batch submitted by the call that waits. Prints one line of JSON.
//   raw_ring [--mode read|write|alloc] [--block BYTES] [--depth N] [--rings N] [--unit BYTES]
//            [--flush-every N] [--durable] [--sequential] [--registered] [--cached]
//            [--time SECONDS] [--count N] [--seed N] FILE
// alloc writes once into each --unit of the file. Each ring has a thread of its own.
#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <latch>
#include <memory>
#include <numeric>
#include <optional>
#include <thread>
#include <vector>

#include "raw_ring_options.hpp"

namespace {

using raw_ring::Mode;
using raw_ring::Options;

using Clock = std::chrono::steady_clock;

constexpr std::size_t kAlignment = 4096;

[[noreturn]] void die(const char* what, int error) {
  std::fprintf(stderr, "raw_ring: %s: %s\n", what, std::strerror(error));
  std::exit(1);
}

/// The same generator, and the same few instructions for each place, as `vhdtool bench` has.
class Places {
 public:
  Places(const Options& options, std::uint64_t file_bytes, std::uint64_t ring)
      : unit_{options.unit},
        block_{options.block},
        units_{file_bytes / options.unit},
        once_{options.mode == Mode::alloc},
        random_{!options.sequential && !once_},
        inner_{options.sequential ? 1 : options.unit / options.block},
        state_{(options.seed * options.rings + ring + 1) * 0x9e3779b97f4a7c15ULL} {
    if (units_ == 0) die("the file is too short", EINVAL);
    std::uint64_t step = 1;
    if (!options.sequential) {
      step = std::max<std::uint64_t>(1, units_ / 1000 * 618);
      while (std::gcd(step, units_) != 1) ++step;
    }
    position_ = ring * step % units_;
    stride_ = options.rings * step % units_;
    left_ = ring < units_ ? (units_ - ring - 1) / options.rings + 1 : 0;
  }

  /// Empty: each unit had its turn.
  std::optional<std::uint64_t> next() {
    if (random_) return below(units_) * unit_;
    if (once_ && left_-- == 0) return std::nullopt;
    const std::uint64_t at = position_ * unit_;
    position_ = (position_ + stride_) % units_;
    return inner_ > 1 ? at + below(inner_) * block_ : at;
  }

  std::uint64_t random() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1dULL;
  }

 private:
  std::uint64_t below(std::uint64_t limit) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((Wide{random()} * limit) >> 64);
  }

  std::uint64_t unit_;
  std::uint64_t block_;
  std::uint64_t units_;
  bool once_;
  bool random_;
  std::uint64_t inner_;
  std::uint64_t state_;
  std::uint64_t position_ = 0;
  std::uint64_t stride_ = 0;
  std::uint64_t left_ = 0;
};

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};

class Ring {
 public:
  Ring(const Options& options, int fd, std::uint64_t file_bytes, std::uint64_t number)
      : options_{options}, fd_{fd}, places_{options, file_bytes, number} {
    if (options.count != 0) {
      left_ = options.count / options.rings + (number < options.count % options.rings ? 1 : 0);
    }
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { io_uring_queue_exit(&ring_); }

  void open() {
    io_uring_params params{};
    params.flags =
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL;
    const auto entries = static_cast<unsigned>(options_.depth);
    int result = io_uring_queue_init_params(entries, &ring_, &params);
    if (result < 0) die("io_uring", -result);
    if (result = io_uring_register_files(&ring_, &fd_, 1); result < 0) die("files", -result);
    if (result = io_uring_register_ring_fd(&ring_); result < 0) die("ring", -result);
    const std::size_t length = options_.depth * options_.block;
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, length)));
    if (!memory_) die("memory", ENOMEM);
    for (std::size_t at = 0; at < length; at += sizeof(std::uint64_t)) {
      const std::uint64_t word = places_.random();
      std::memcpy(memory_.get() + at, &word, sizeof word);
    }
    const iovec all{memory_.get(), length};
    if (!options_.registered) return;
    if (result = io_uring_register_buffers(&ring_, &all, 1); result < 0) die("buffers", -result);
  }

  void run() {
    begin = Clock::now();
    const auto deadline = begin + std::chrono::seconds{options_.seconds};
    until_flush_ = options_.flush_every;
    for (std::uint64_t slot = 0; slot < options_.depth; ++slot) submit(slot);
    while (in_flight_ != 0) {
      if (const int result = io_uring_submit_and_wait(&ring_, 1); result < 0) die("enter", -result);
      ++submissions;
      reap();
      if (options_.seconds != 0 && Clock::now() >= deadline) left_ = 0;
    }
    end = Clock::now();
  }

  Clock::time_point begin, end;
  std::uint64_t requests = 0;
  std::uint64_t flushes = 0;
  std::uint64_t submissions = 0;

 private:
  static constexpr std::uint64_t kFlush = std::uint64_t{1} << 32;

  void reap() {
    io_uring_cqe* cqe = nullptr;
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      ++seen;
      --in_flight_;
      const std::uint64_t slot = cqe->user_data % kFlush;
      if (cqe->user_data >= kFlush) {
        if (cqe->res < 0) die("fdatasync", -cqe->res);
        ++flushes;
        submit(slot);
        continue;
      }
      if (cqe->res != static_cast<int>(options_.block)) {
        die("transfer", cqe->res < 0 ? -cqe->res : EIO);
      }
      ++requests;
      if (until_flush_ != 0 && --until_flush_ == 0) {
        flush(slot);
      } else {
        submit(slot);
      }
    }
    io_uring_cq_advance(&ring_, seen);
  }

  io_uring_sqe* entry() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) die("no submission entry", EBUSY);
    ++in_flight_;
    return sqe;
  }

  void flush(std::uint64_t slot) {
    until_flush_ = options_.flush_every;
    io_uring_sqe* sqe = entry();
    io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = slot + kFlush;
  }

  void submit(std::uint64_t slot) {
    if (left_ == 0) return;
    --left_;
    const auto at = places_.next();
    if (!at) {
      left_ = 0;
      return;
    }
    io_uring_sqe* sqe = entry();
    std::byte* memory = memory_.get() + slot * options_.block;
    const auto length = static_cast<unsigned>(options_.block);
    const bool reads = options_.mode == Mode::read;
    if (options_.registered && reads) {
      io_uring_prep_read_fixed(sqe, 0, memory, length, *at, 0);
    } else if (options_.registered) {
      io_uring_prep_write_fixed(sqe, 0, memory, length, *at, 0);
    } else if (reads) {
      io_uring_prep_read(sqe, 0, memory, length, *at);
    } else {
      io_uring_prep_write(sqe, 0, memory, length, *at);
    }
    if (options_.durable) sqe->rw_flags = RWF_DSYNC;
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = slot;
  }

  const Options& options_;
  int fd_;
  Places places_;
  io_uring ring_{};
  std::unique_ptr<std::byte, Free> memory_;
  std::uint64_t left_ = ~std::uint64_t{0};
  std::uint64_t until_flush_ = 0;
  std::uint64_t in_flight_ = 0;
};

// The first ring is this thread's.
void run(std::vector<std::unique_ptr<Ring>>& rings) {
  std::latch opened{static_cast<std::ptrdiff_t>(rings.size())};
  const auto work = [&](Ring& ring) {
    ring.open();
    opened.arrive_and_wait();
    ring.run();
  };
  std::vector<std::jthread> threads;
  for (std::size_t i = 1; i < rings.size(); ++i) {
    threads.emplace_back([&, i] { work(*rings[i]); });
  }
  work(*rings[0]);
}

void report(const std::vector<std::unique_ptr<Ring>>& rings) {
  auto begin = rings[0]->begin;
  auto end = rings[0]->end;
  std::uint64_t requests = 0;
  std::uint64_t flushes = 0;
  std::uint64_t submissions = 0;
  for (const auto& ring : rings) {
    begin = std::min(begin, ring->begin);
    end = std::max(end, ring->end);
    requests += ring->requests;
    flushes += ring->flushes;
    submissions += ring->submissions;
  }
  const double seconds = std::chrono::duration<double>(end - begin).count();
  std::printf(
      "{\"seconds\": %.6f, \"requests\": %llu, \"flushes\": %llu, \"submissions\": %llu, "
      "\"requests_per_second\": %.1f}\n",
      seconds, static_cast<unsigned long long>(requests), static_cast<unsigned long long>(flushes),
      static_cast<unsigned long long>(submissions), static_cast<double>(requests) / seconds);
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = raw_ring::parse(argc, argv);
  if (!options) {
    std::fputs("usage: raw_ring [OPTION...] FILE; see the head of bench/tools/raw_ring.cpp\n",
               stderr);
    return 2;
  }
  const int flags = (options->mode == Mode::read ? O_RDONLY : O_RDWR) | O_CLOEXEC;
  const int fd = open(options->file, options->cached ? flags : flags | O_DIRECT);
  if (fd < 0) die(options->file, errno);
  struct stat status{};
  if (fstat(fd, &status) != 0) die("fstat", errno);
  std::vector<std::unique_ptr<Ring>> rings;
  for (std::uint64_t i = 0; i < options->rings; ++i) {
    rings.push_back(
        std::make_unique<Ring>(*options, fd, static_cast<std::uint64_t>(status.st_size), i));
  }
  run(rings);
  report(rings);
  return 0;
}
