// A host that is slow, or fails: who waits for it, and who does not.
#include <gtest/gtest.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>

#include "image/disk_fixture.hpp"
#include "image/disk_state.hpp"
#include "image/queue/queue_state.hpp"
#include "image/queue/requests.hpp"
#include "io/host.hpp"

namespace openvhd {
namespace {

using test::kMiB;
using test::TestRequest;

/// What a test does to the syncs of a file.
struct SyncControl {
  std::mutex mutex;
  std::condition_variable changed;
  bool hold = false;
  std::int32_t result = 0;
  unsigned held = 0;

  std::int32_t pass() {
    std::unique_lock lock{mutex};
    ++held;
    changed.notify_all();
    changed.wait(lock, [this] { return !hold; });
    --held;
    return result;
  }
  void wait_for_a_held_one() {
    std::unique_lock lock{mutex};
    changed.wait(lock, [this] { return held != 0; });
  }
  void release() {
    const std::scoped_lock lock{mutex};
    hold = false;
    changed.notify_all();
  }
};

/// A file whose syncs, and durable writes, go through a SyncControl first.
class SyncFile final : public File {
 public:
  SyncFile(std::unique_ptr<PosixFile> file, SyncControl& control)
      : file_{std::move(file)}, control_{control} {}

  std::int32_t execute(const IoCommand& command) noexcept override {
    if (command.kind == IoCommand::Kind::sync || command.durable) {
      if (const std::int32_t result = control_.pass(); result < 0) return result;
    }
    return file_->execute(command);
  }
  Result<std::uint64_t> size() noexcept override { return file_->size(); }
  std::uint64_t allocated_bytes() noexcept override { return file_->allocated_bytes(); }
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override {
    return file_->next_data(at, end);
  }
  FileIdentity identity() const noexcept override { return file_->identity(); }
  const std::string& name() const noexcept override { return file_->name(); }
  bool writable() const noexcept override { return true; }

 private:
  std::unique_ptr<PosixFile> file_;
  SyncControl& control_;
};

class QueueFaultTest : public test::DiskTest, public testing::WithParamInterface<Format> {
 protected:
  std::shared_ptr<detail::DiskState> disk_on(SyncControl& control) {
    const std::string file =
        made(std::string{"a."} + to_string(GetParam()), {.virtual_size = 64 * kMiB});
    auto host_file = open_host_file(file, Access::read_write, false);
    EXPECT_TRUE(host_file);
    OpenedChain chain;
    chain.format = GetParam();
    chain.paths = {file};
    auto image = open_layer(GetParam(), std::make_unique<SyncFile>(*std::move(host_file), control),
                            {.writable = true}, system_host());
    EXPECT_TRUE(image);
    chain.images.push_back(*std::move(image));
    return std::make_shared<detail::DiskState>(std::move(chain), Access::read_write,
                                               DriverKind::blocking);
  }

  using QueuePointer = std::unique_ptr<detail::QueueState>;
  static QueuePointer queue_on(const std::shared_ptr<detail::DiskState>& disk) {
    auto queue = detail::QueueState::open(disk, {.depth = 16});
    EXPECT_TRUE(queue);
    return *std::move(queue);
  }
  static Status finish(detail::QueueState& queue, TestRequest& request) {
    while (!request.outcome && queue.wait() != 0) {
    }
    return *request.outcome;
  }
  static Status write_now(detail::QueueState& queue, std::uint64_t at, std::uint8_t value) {
    TestRequest request{4096};
    request.at = {at};
    request.fill(value);
    if (!queue.write(request)) return queue.refused();
    return finish(queue, request);
  }
  static Status flush_now(detail::QueueState& queue) {
    TestRequest request{0};
    if (!queue.flush(request)) return queue.refused();
    return finish(queue, request);
  }
};

INSTANTIATE_TEST_SUITE_P(, QueueFaultTest, testing::Values(Format::vhdx, Format::vhd),
                         [](const auto& one) { return std::string{to_string(one.param)}; });

TEST_P(QueueFaultTest, ASlowSyncHoldsUpNobodyButWhoFlushes) {
  SyncControl control;
  const auto disk = disk_on(control);
  const auto flusher = queue_on(disk);
  const auto writer = queue_on(disk);
  ASSERT_TRUE(write_now(*flusher, 0, 1));
  ASSERT_TRUE(write_now(*flusher, 8 * kMiB, 1));
  control.hold = true;
  TestRequest flush{0};
  ASSERT_TRUE(flusher->flush(flush));
  flusher->poll();
  control.wait_for_a_held_one();
  // An overwrite, a block of its own in space that is reserved, and a read, while the medium
  // sleeps.
  EXPECT_TRUE(write_now(*writer, 4096, 2));
  EXPECT_TRUE(write_now(*writer, 16 * kMiB, 3));
  TestRequest read{4096};
  read.at = {16 * kMiB};
  ASSERT_TRUE(writer->read(read));
  EXPECT_TRUE(finish(*writer, read));
  EXPECT_TRUE(read.holds(3));
  flusher->poll();
  EXPECT_FALSE(flush.outcome) << "the flush does not wait for its sync";
  control.release();
  EXPECT_TRUE(finish(*flusher, flush));
}

TEST_P(QueueFaultTest, AfterAFailedSyncNothingIsWrittenAndReadsGoOn) {
  SyncControl control;
  const auto disk = disk_on(control);
  const auto queue = queue_on(disk);
  const auto other = queue_on(disk);
  ASSERT_TRUE(write_now(*queue, 0, 1));
  ASSERT_TRUE(flush_now(*queue));
  ASSERT_TRUE(write_now(*queue, 0, 2));
  control.result = -EIO;
  const Status failed = flush_now(*queue);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::io);
  control.result = 0;  // the host forgets; we do not
  for (const auto& one : {queue.get(), other.get()}) {
    for (const std::uint64_t at : {std::uint64_t{0}, 20 * kMiB}) {
      const Status written = write_now(*one, at, 3);
      ASSERT_FALSE(written) << at;
      EXPECT_EQ(written.error().code, Errc::poisoned);
    }
    const Status flushed = flush_now(*one);
    ASSERT_FALSE(flushed);
    EXPECT_EQ(flushed.error().code, Errc::poisoned);
  }
  TestRequest read{4096};
  ASSERT_TRUE(queue->read(read));
  EXPECT_TRUE(finish(*queue, read));
  EXPECT_TRUE(read.holds(2));
}

}  // namespace
}  // namespace openvhd
