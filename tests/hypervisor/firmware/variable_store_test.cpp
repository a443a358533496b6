#include "firmware/variable_store.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "firmware/firmware_file.hpp"
#include "support/temp_dir.hpp"

namespace openvhd::vmm {
namespace {

class VariableStoreTest : public testing::Test {
 protected:
  static Errc code(const Result<VariableStore>& store) { return store.error().code; }
  static void write_file(const std::string& path, std::size_t bytes, char value) {
    std::ofstream{path, std::ios::binary} << std::string(bytes, value);
  }
  openvhd::test::TempDir dir;
  std::string path = dir / "vars.fd";
  std::vector<std::byte> initial = std::vector<std::byte>(8192, std::byte{0xff});
};

TEST_F(VariableStoreTest, IsMadeFromTheEmptyOneAndKeepsWhatChanges) {
  {
    auto store = VariableStore::open(path, initial);
    ASSERT_TRUE(store);
    EXPECT_EQ(std::filesystem::file_size(path), 8192U);
    store->bytes()[4097] = std::byte{0x11};
    store->bytes()[5000] = std::byte{0x22};
    EXPECT_TRUE(store->keep(4097, 1));
    EXPECT_TRUE(store->sync());
  }
  auto store = VariableStore::open(path, initial);
  ASSERT_TRUE(store);
  EXPECT_EQ(store->bytes()[4097], std::byte{0x11});
  EXPECT_EQ(store->bytes()[5000], std::byte{0xff}) << "nobody asked to keep it";
}

TEST_F(VariableStoreTest, OneProcessAtATime) {
  const auto store = VariableStore::open(path, initial);
  ASSERT_TRUE(store);
  EXPECT_EQ(code(VariableStore::open(path, initial)), Errc::busy);
}

TEST_F(VariableStoreTest, AFileOfAnotherSizeIsRefusedAndStays) {
  write_file(path, 4096, 'x');
  EXPECT_EQ(code(VariableStore::open(path, initial)), Errc::unsupported);
  EXPECT_EQ(std::filesystem::file_size(path), 4096U);
  EXPECT_EQ(code(VariableStore::open(dir / "no/such", initial)), Errc::not_found);
  EXPECT_FALSE(VariableStore::open(dir.path().string(), initial));
  EXPECT_EQ(code(VariableStore::in_memory(std::span{initial}.first(100))), Errc::unsupported);
}

TEST_F(VariableStoreTest, ThePackagesFileIsNotTaken) {
  const auto vars = find_firmware(Firmware::ovmf_vars);
  if (vars.empty()) GTEST_SKIP() << "no OVMF (package ovmf)";
  std::filesystem::create_symlink(vars, path);
  const auto refused = VariableStore::open(path, initial);
  ASSERT_FALSE(refused);
  EXPECT_EQ(code(refused), Errc::denied) << "whoever may write it must not either";
}

TEST_F(VariableStoreTest, StoresLieBesideTheirCode) {
  for (const char* name : {"F_CODE_4M.fd", "F_VARS_4M.fd", "F_CODE_4M.secboot.fd", "plain.fd"})
    write_file(dir / name, 16, 'x');
  EXPECT_EQ(variables_beside(dir / "F_CODE_4M.fd"), dir / "F_VARS_4M.fd");
  EXPECT_EQ(variables_beside(dir / "F_CODE_4M.secboot.fd"), dir / "F_VARS_4M.fd");
  EXPECT_EQ(variables_beside(dir / "plain.fd"), "");
  EXPECT_EQ(variables_beside(dir / "G_CODE.fd"), "");
}

}  // namespace
}  // namespace openvhd::vmm
