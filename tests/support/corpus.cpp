#include "support/corpus.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "support/program.hpp"

namespace openvhd::test {
namespace {

std::filesystem::path corpus_dir() {
  if (const char* named = std::getenv("OPENVHD_CORPUS")) return named;
  return std::filesystem::path{OPENVHD_SOURCE_DIR}.parent_path() / "shared" / "corpus";
}

std::shared_ptr<MemoryStore> unpack(const std::filesystem::path& packed) {
  auto store = std::make_shared<MemoryStore>();
  FILE* const pipe = ::popen(("zstd -q -d -c '" + packed.string() + "'").c_str(), "r");
  if (pipe == nullptr) std::abort();
  std::vector<std::byte> buffer(MemoryStore::kPageBytes);
  std::uint64_t at = 0;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    const auto piece = std::span{buffer}.first(got);
    // Zeros stay holes, so that large images fit.
    if (std::ranges::any_of(piece, [](std::byte b) { return b != std::byte{0}; }) &&
        store->write(at, piece) != 0) {
      std::abort();
    }
    at += got;
  }
  if (::pclose(pipe) != 0 || store->set_size(at) != 0) std::abort();
  return store;
}

}  // namespace

void CorpusTest::SetUp() {
  std::ifstream manifest{corpus_dir() / "MANIFEST.json"};
  if (!manifest) GTEST_SKIP() << "no corpus at " << corpus_dir() << " (OPENVHD_CORPUS)";
  if (!have_program("zstd")) GTEST_SKIP() << "no zstd to unpack the corpus with";
  entries_ = Json::parse(manifest)["entries"];
}

void CorpusTest::for_each(Format format, const std::string& expectation, const Body& body) {
  unsigned seen = 0;
  for (const Json& entry : entries_) {
    const std::string name = entry["unpacked_name"];
    const auto path = corpus_dir() / entry["file"].get<std::string>();
    if (entry["expectation"] != expectation || !std::filesystem::exists(path)) continue;
    if (name.ends_with("vhdx") != (format == Format::vhdx)) continue;
    SCOPED_TRACE(entry["id"].get<std::string>());
    body(entry, unpack(path));
    ++seen;
  }
  EXPECT_GT(seen, 0u);
}

}  // namespace openvhd::test
