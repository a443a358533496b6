// What the engine leaves in a file, judged by other software: QEMU, 7-Zip, and the checker that
// shares no code with it. Skips what is not installed.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "support/program.hpp"
#include "support/temp_dir.hpp"
#include "vhdx/engine_fixture.hpp"
#include "vhdx/engine_model.hpp"

namespace openvhd::test {
namespace {

class VhdxEnginePeers : public testing::Test {
 protected:
  /// Random writes, clears and flushes; then closed, or dropped after a flush.
  void work(const EngineShape& shape, std::uint64_t seed, bool close) {
    std::mt19937_64 random{seed};
    store_ = make_image(shape);
    model_ = std::make_unique<DiskModel>(shape, 2 * kMiB, 8, seed);
    OpenEngine image{store_, shape};
    for (std::uint32_t tag = 2; tag < 60; ++tag) {
      auto range = model_->random_range(random, tag % 5 == 0 ? 2 * kMiB : 128 * kKiB);
      if (tag % 3 != 0) {
        const auto bytes = model_->contents_of(range.at, range.length, tag);
        ASSERT_EQ(failure_of(image.write(range.at, bytes)), "");
        model_->put(range.at, range.length, tag);
        continue;
      }
      if (tag % 2 == 0) {
        range.at = align_down(range.at, shape.block_size);
        range.length = std::min(shape.block_size, shape.virtual_size - range.at);
      }
      const auto kind = tag % 9 == 0 ? ClearKind::zero : ClearKind::trim;
      ASSERT_EQ(failure_of(image.clear(range.at, range.length, kind)), "");
      model_->put(range.at, range.length, DiskModel::kZeros);
      if (tag % 12 != 0) continue;
      ASSERT_EQ(failure_of(image.flush()), "");
    }
    ASSERT_EQ(failure_of(close ? image.close() : image.flush()), "");
    save_image();
    save_raw(shape);
  }

  void save_image() {
    std::ofstream out{image_path_, std::ios::binary};
    MemoryFile file{store_};
    for (std::uint64_t at = 0; at < store_->size;) {
      const FileRange data = store_->next_data(at, store_->size);
      if (data.length == 0) break;
      const auto bytes = read_at(file, data.at.value, data.length);
      put(out, data.at.value, bytes);
      at = data.at.value + data.length;
    }
    put(out, store_->size - 1, read_at(file, store_->size - 1, 1));
  }

  void save_raw(const EngineShape& shape) {
    std::ofstream out{raw_path_, std::ios::binary};
    for (const auto& window : model_->windows()) {
      const std::uint64_t length = window.tags.size() * shape.sector_size;
      put(out, window.at, model_->contents(window, window.at, length));
    }
    out.close();
    std::filesystem::resize_file(raw_path_, shape.virtual_size);
  }

  static void put(std::ofstream& out, std::uint64_t at, const std::vector<std::byte>& bytes) {
    out.seekp(static_cast<std::streamoff>(at));
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }

  TempDir dir_;
  std::string image_path_ = dir_ / "image.vhdx";
  std::string raw_path_ = dir_ / "disk.raw";
  std::shared_ptr<MemoryStore> store_;
  std::unique_ptr<DiskModel> model_;
};

const EngineShape kTwoChunks{.virtual_size = 5 * kGiB, .block_size = 2 * kMiB};

TEST_F(VhdxEnginePeers, QemuReadsTheSameAndFindsNothingWrong) {
  if (!have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    work(kTwoChunks, seed, true);
    const Ran check = run_program({"qemu-img", "check", "-f", "vhdx", image_path_});
    EXPECT_EQ(check.exit_code, 0) << check.output;
    // QEMU takes all of a VHDX for data: compare only where something was done.
    for (const auto& window : model_->windows()) {
      const std::string part = "driver=raw,offset=" + std::to_string(window.at) + ",size=" +
                               std::to_string(window.tags.size() * kTwoChunks.sector_size);
      const Ran compare = run_program(
          {"qemu-img", "compare", "--image-opts",
           part + ",file.driver=vhdx,file.file.driver=file,file.file.filename=" + image_path_,
           part + ",file.driver=file,file.filename=" + raw_path_});
      EXPECT_EQ(compare.exit_code, 0) << "seed " << seed << ": " << compare.output;
    }
  }
}

TEST_F(VhdxEnginePeers, SevenZipExtractsTheSame) {
  if (!have_program("7z")) GTEST_SKIP() << "7z is not installed";
  const EngineShape shape{.virtual_size = 20 * kMiB};
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    work(shape, seed, true);
    const Ran same = run_program(
        {"sh", "-c", "7z x -so '" + image_path_ + "' 2>/dev/null | cmp - '" + raw_path_ + "'"});
    EXPECT_EQ(same.exit_code, 0) << "seed " << seed << ": " << same.output;
  }
}

TEST_F(VhdxEnginePeers, TheIndependentCheckerFindsNothingWrong) {
  if (!have_program("python3")) GTEST_SKIP() << "python3 is not installed";
  for (const bool parent : {false, true}) {
    for (const bool close : {true, false}) {
      EngineShape shape = kTwoChunks;
      shape.has_parent = parent;
      work(shape, 7, close);
      const Ran check = run_program({"python3", OPENVHD_SOURCE_DIR "/tests/checker/vhdcheck.py",
                                     "--no-chain", "--quiet", image_path_});
      EXPECT_EQ(check.exit_code, 0)
          << "parent " << parent << " close " << close << ": " << check.output;
    }
  }
}

}  // namespace
}  // namespace openvhd::test
