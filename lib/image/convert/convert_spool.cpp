#include "image/convert/convert_spool.hpp"

#include <cerrno>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/buffers.hpp"
#include "image/convert/zero_scan.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kChunk = 1 * kMiB;

Status write_runs(File& file, std::uint64_t at, std::span<const std::byte> bytes, bool sparse,
                  Spooled& done) {
  if (!sparse) return file.write_all({at}, bytes);
  std::size_t position = 0;
  while (position < bytes.size()) {
    const ByteRun run = next_data_run(bytes, position, {});
    if (run.length == 0) break;
    done.zero_bytes += run.at - position;
    OVHD_CHECK(file.write_all({at + run.at}, bytes.subspan(run.at, run.length)));
    position = run.at + run.length;
  }
  done.zero_bytes += bytes.size() - position;
  return Ok{};
}

}  // namespace

Result<Spooled> spool(Stream stream, File& file, bool sparse, Progress* progress) {
  const AlignedBuffer memory{kChunk};
  if (memory.span().empty()) {
    return Error{.code = Errc::io, .sys_errno = ENOMEM, .what = "a buffer for standard input"};
  }
  stream.ask(progress);
  Spooled done;
  for (;;) {
    OVHD_TRY(const std::size_t got, stream.read_full(memory.span()));
    OVHD_CHECK(write_runs(file, done.length, memory.span().first(got), sparse, done));
    done.length += got;
    if (progress != nullptr && !progress->update(done.length, done.length)) {
      return Error{.code = Errc::cancelled, .what = "stopped on request"};
    }
    if (got < kChunk) break;
  }
  return done;
}

}  // namespace openvhd
