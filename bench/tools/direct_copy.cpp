// The yardstick for convert: copies a file with direct I/O through one io_uring, with so many
// pieces in flight, and makes the copy durable. With --sparse only what the file system says is
// data. It knows no format, looks at no byte and does nothing else.
//   direct_copy [--sparse] [--depth 8] [--piece 1048576] SOURCE TARGET
#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t kAlignment = 4096;

[[noreturn]] void die(const char* what, int error) {
  std::fprintf(stderr, "direct_copy: %s: %s\n", what, std::strerror(error));
  std::exit(1);
}

struct Options {
  bool sparse = false;
  unsigned depth = 8;
  std::size_t piece = std::size_t{1} << 20;
  const char* source = nullptr;
  const char* target = nullptr;
};

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};

struct Piece {
  std::unique_ptr<std::byte, Free> memory;
  std::uint64_t at = 0;
  std::size_t length = 0;
  std::size_t done = 0;
  bool writing = false;
};

/// Hands out the pieces of the source, in order.
class Cursor {
 public:
  Cursor(int fd, std::uint64_t size, const Options& options)
      : fd_{fd}, size_{size}, data_end_{options.sparse ? 0 : size}, piece_{options.piece} {}

  /// False at the end of the file.
  bool next(Piece& piece) {
    if (at_ == data_end_ && !find_data()) return false;
    piece.at = at_;
    piece.length = std::min<std::uint64_t>(piece_, data_end_ - at_);
    piece.done = 0;
    piece.writing = false;
    at_ += piece.length;
    return true;
  }

 private:
  bool find_data() {
    if (at_ >= size_) return false;
    const off_t begin = lseek(fd_, static_cast<off_t>(at_), SEEK_DATA);
    if (begin < 0 && errno == ENXIO) return false;
    if (begin < 0) die("SEEK_DATA", errno);
    const off_t end = lseek(fd_, begin, SEEK_HOLE);
    if (end < 0) die("SEEK_HOLE", errno);
    at_ = static_cast<std::uint64_t>(begin);
    data_end_ = static_cast<std::uint64_t>(end);
    return true;
  }

  int fd_;
  std::uint64_t size_;
  std::uint64_t at_ = 0;
  std::uint64_t data_end_;
  std::size_t piece_;
};

void submit(io_uring& ring, Piece& piece, int source, int target) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  if (sqe == nullptr) die("no submission entry", EBUSY);
  std::byte* memory = piece.memory.get() + piece.done;
  const auto length = static_cast<unsigned>(piece.length - piece.done);
  if (piece.writing) {
    io_uring_prep_write(sqe, target, memory, length, piece.at + piece.done);
  } else {
    io_uring_prep_read(sqe, source, memory, length, piece.at + piece.done);
  }
  io_uring_sqe_set_data(sqe, &piece);
}

void copy(int source, int target, std::uint64_t size, const Options& options) {
  io_uring ring{};
  if (const int result = io_uring_queue_init(options.depth, &ring, 0); result < 0) {
    die("io_uring", -result);
  }
  Cursor cursor{source, size, options};
  std::vector<Piece> pieces(options.depth);
  unsigned in_flight = 0;
  for (Piece& piece : pieces) {
    piece.memory.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, options.piece)));
    if (!piece.memory) die("memory", ENOMEM);
    if (cursor.next(piece)) {
      submit(ring, piece, source, target);
      ++in_flight;
    }
  }
  while (in_flight > 0) {
    if (const int result = io_uring_submit_and_wait(&ring, 1); result < 0) die("submit", -result);
    io_uring_cqe* cqe = nullptr;
    while (io_uring_peek_cqe(&ring, &cqe) == 0) {
      Piece& piece = *static_cast<Piece*>(io_uring_cqe_get_data(cqe));
      const int moved = cqe->res;
      io_uring_cqe_seen(&ring, cqe);
      if (moved <= 0) die(piece.writing ? "write" : "read", moved < 0 ? -moved : EIO);
      piece.done += static_cast<std::size_t>(moved);
      if (piece.done == piece.length && piece.writing && !cursor.next(piece)) {
        --in_flight;
        continue;
      }
      if (piece.done == piece.length) {
        piece.done = 0;
        piece.writing = true;
      }
      submit(ring, piece, source, target);
    }
  }
  io_uring_queue_exit(&ring);
}

std::optional<Options> parse(std::span<char*> arguments) {
  Options options;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--sparse") {
      options.sparse = true;
    } else if (argument == "--depth" && i + 1 < arguments.size()) {
      options.depth = static_cast<unsigned>(std::strtoul(arguments[++i], nullptr, 10));
    } else if (argument == "--piece" && i + 1 < arguments.size()) {
      options.piece = std::strtoul(arguments[++i], nullptr, 10);
    } else if (options.source == nullptr) {
      options.source = arguments[i];
    } else {
      options.target = arguments[i];
    }
  }
  const bool usable = options.target != nullptr && options.depth > 0 && options.depth <= 1024 &&
                      options.piece > 0 && options.piece % kAlignment == 0;
  return usable ? std::optional{options} : std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse({argv, static_cast<std::size_t>(argc)});
  if (!options) {
    std::fputs("usage: direct_copy [--sparse] [--depth N] [--piece BYTES] SOURCE TARGET\n", stderr);
    return 2;
  }
  const int source = open(options->source, O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (source < 0) die(options->source, errno);
  const int target =
      open(options->target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_DIRECT, 0644);
  if (target < 0) die(options->target, errno);
  struct stat status{};
  if (fstat(source, &status) != 0) die("fstat", errno);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size % kAlignment != 0) die("the size is no multiple of 4096", EINVAL);
  if (ftruncate(target, status.st_size) != 0) die("ftruncate", errno);
  copy(source, target, size, *options);
  if (fdatasync(target) != 0) die("fdatasync", errno);
  return 0;
}
