#include "image/undo_file.hpp"

#include <gtest/gtest.h>

#include "support/bytes.hpp"
#include "support/memory_file.hpp"

namespace openvhd::test {
namespace {

class UndoFileTest : public testing::Test {
 protected:
  UndoFileTest() { patch(target, 0, before); }

  std::unique_ptr<UndoFile> record() {
    auto made = UndoFile::make(target, std::make_unique<MemoryFile>(undo_store));
    EXPECT_TRUE(made);
    return *std::move(made);
  }

  std::vector<std::byte> before = pattern(20000, 1);
  MemoryFile target;
  std::shared_ptr<MemoryStore> undo_store = std::make_shared<MemoryStore>();
};

TEST_F(UndoFileTest, PutsBackWritesZeroesPunchesAndSizes) {
  auto file = record();
  EXPECT_FALSE(file->changed_target());
  ASSERT_TRUE(file->write_all({100}, pattern(5000, 2)));
  ASSERT_TRUE(file->write_all({100}, pattern(700, 3)));
  ASSERT_TRUE(file->zero({9000}, 100));
  ASSERT_TRUE(file->punch({12288}, 4096));
  ASSERT_TRUE(file->set_size(15000));
  ASSERT_TRUE(file->set_size(40000));
  ASSERT_TRUE(file->write_all({30000}, pattern(100, 4)));
  EXPECT_TRUE(file->changed_target());
  EXPECT_NE(read_all(target), before);
  MemoryFile undo{undo_store};
  ASSERT_TRUE(UndoFile::put_back(target, undo));
  EXPECT_EQ(read_all(target), before);
}

TEST_F(UndoFileTest, ATornLastRecordIsOfAPageThatWasNotYetChanged) {
  auto file = record();
  ASSERT_TRUE(file->write_all({0}, pattern(100, 2)));
  undo_store->size -= 50;  // the crash came while the record was being written
  patch(target, 0, std::span{before}.first(100));
  MemoryFile undo{undo_store};
  ASSERT_TRUE(UndoFile::put_back(target, undo));
  EXPECT_EQ(read_all(target), before);
}

TEST_F(UndoFileTest, APageIsSavedOnce) {
  auto file = record();
  ASSERT_TRUE(file->write_all({0}, pattern(100, 2)));
  const auto after_first = undo_store->size;
  ASSERT_TRUE(file->write_all({8}, pattern(100, 3)));
  EXPECT_EQ(undo_store->size, after_first);
}

TEST_F(UndoFileTest, WhatWasUsedAfterTheRepairIsNotUndone) {
  auto file = record();
  ASSERT_TRUE(file->write_all({100}, pattern(5000, 2)));
  ASSERT_TRUE(file->set_size(40000));
  ASSERT_TRUE(file->seal());
  const auto repaired = read_all(target);
  MemoryFile undo{undo_store};
  patch(target, 200, {1, 2, 3});
  const auto used = read_all(target);
  EXPECT_EQ(UndoFile::put_back(target, undo).error().code, Errc::mismatch);
  EXPECT_EQ(read_all(target), used) << "nothing is written";
  patch(target, 0, repaired);
  ASSERT_TRUE(target.set_size(50000));
  EXPECT_EQ(UndoFile::put_back(target, undo).error().code, Errc::mismatch) << "another size";
  ASSERT_TRUE(target.set_size(40000));
  ASSERT_TRUE(UndoFile::put_back(target, undo));
  EXPECT_EQ(read_all(target), before);
}

TEST_F(UndoFileTest, AForeignUndoFileIsRefused) {
  MemoryFile undo;
  EXPECT_EQ(UndoFile::put_back(target, undo).error().code, Errc::corrupt);
  patch(undo, 0, pattern(4096, 9));
  EXPECT_EQ(UndoFile::put_back(target, undo).error().code, Errc::corrupt);
  EXPECT_EQ(read_all(target), before);
}

TEST_F(UndoFileTest, WhenSavingFailsNothingChanges) {
  auto file = record();
  undo_store->capacity = undo_store->allocated_bytes();
  const Status status = file->write_all({16384}, pattern(100, 2));
  // The first page of the store holds several records; fill it up.
  if (status) {
    for (std::uint64_t page = 0; page < 4; ++page) {
      if (!file->write_all({page * 4096}, pattern(100, 5))) break;
    }
  }
  MemoryFile undo{undo_store};
  ASSERT_TRUE(UndoFile::put_back(target, undo));
  EXPECT_EQ(read_all(target), before);
}

}  // namespace
}  // namespace openvhd::test
