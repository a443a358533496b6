#include "snapshot/sim_store.hpp"

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/try.hpp"

namespace openvhd::test {
namespace {

Error host_failure(int error) {
  return {
      .code = error == ENOSPC ? Errc::no_space : Errc::io, .sys_errno = error, .what = "simulated"};
}

bool takes_space(IoCommand::Kind kind) {
  return kind == IoCommand::Kind::write || kind == IoCommand::Kind::reserve;
}

}  // namespace

/// An open of a file of a store, which holds a lock.
class SimStoreFile final : public SimFile {
 public:
  SimStoreFile(SimStore& store, std::shared_ptr<SimDisk> disk, std::string name, Lock lock,
               bool writable)
      : SimFile{std::move(disk), writable}, store_{store}, name_{std::move(name)}, lock_{lock} {
    auto& held = store_.locks_[identity().inode];
    if (lock_ == Lock::reader) ++held.first;
    if (lock_ == Lock::writer) ++held.second;
  }
  ~SimStoreFile() override {
    auto& held = store_.locks_[identity().inode];
    if (lock_ == Lock::reader) --held.first;
    if (lock_ == Lock::writer) --held.second;
  }

  Status change_lock(Lock lock) noexcept override {
    auto& [readers, writers] = store_.locks_[identity().inode];
    if (lock_ == Lock::reader) --readers;
    if (lock_ == Lock::writer) --writers;
    const bool free = lock != Lock::writer || (readers == 0 && writers == 0);
    if (free) lock_ = lock;
    if (lock_ == Lock::reader) ++readers;
    if (lock_ == Lock::writer) ++writers;
    if (free) return Ok{};
    return Error{.code = Errc::busy, .what = "locked"};
  }
  std::int32_t execute(const IoCommand& command) noexcept override {
    if (const int error = store_.injected(takes_space(command.kind)); error != 0) {
      // A tick passes, so that a failure that comes once does.
      store_.power().tick();
      return -error;
    }
    return SimFile::execute(command);
  }
  const std::string& name() const noexcept override { return name_; }

 private:
  SimStore& store_;
  std::string name_;
  Lock lock_;
};

int SimStore::injected(bool takes_space) const {
  if (power_->now() == fail_tick_) return fail_error_;
  return takes_space && power_->now() >= full_from_ ? ENOSPC : 0;
}

Status SimStore::step() {
  if (power_->is_off()) return host_failure(EIO);
  if (const int error = injected(true); error != 0) {
    power_->tick();
    return host_failure(error);
  }
  steps_.push_back({.tick = power_->tick(), .before = names_});
  return Ok{};
}

Result<std::unique_ptr<File>> SimStore::open(const std::string& path, Lock lock) {
  const auto found = names_.find(path);
  if (found == names_.end()) {
    return Error{.code = Errc::not_found, .sys_errno = ENOENT, .what = "open the image"};
  }
  const auto disk = std::get<std::shared_ptr<SimDisk>>(found->second);
  const auto [readers, writers] = locks_[disk->now().identity.inode];
  if ((lock != Lock::none && writers != 0) || (lock == Lock::writer && readers != 0)) {
    return Error{.code = Errc::busy, .what = "locked"};
  }
  return std::unique_ptr<File>{
      std::make_unique<SimStoreFile>(*this, disk, path, lock, lock == Lock::writer)};
}

Result<std::unique_ptr<File>> SimStore::open_to_change(const std::string& path) {
  // Whoever has a writer's lock is in the way, as for any reader.
  OVHD_TRY(const auto reader, open(path, Lock::reader));
  return std::unique_ptr<File>{std::make_unique<SimStoreFile>(
      *this, std::get<std::shared_ptr<SimDisk>>(names_.at(path)), path, Lock::reader, true)};
}

Status SimStore::create(const std::string& path, const Fill& fill) {
  if (exists(path)) return Error{.code = Errc::invalid, .sys_errno = EEXIST, .what = "create"};
  auto disk = std::make_shared<SimDisk>(MemoryStore{}, power_);
  disk->now().identity.inode = next_inode_++;
  {
    SimStoreFile file{*this, disk, path, Lock::writer, true};
    OVHD_CHECK(fill(file));
    OVHD_CHECK(file.sync());
  }
  OVHD_CHECK(step());
  names_[path] = disk;
  return Ok{};
}

Result<std::string> SimStore::read_text(const std::string& path, std::size_t most) {
  const auto found = names_.find(path);
  if (found == names_.end()) {
    return Error{.code = Errc::not_found, .sys_errno = ENOENT, .what = "read the text"};
  }
  const auto& text = std::get<std::string>(found->second);
  if (text.size() > most) return Error{.code = Errc::corrupt, .what = "too long"};
  return text;
}

Status SimStore::write_text(const std::string& path, const std::string& text) {
  OVHD_CHECK(step());
  names_[path] = text;
  return Ok{};
}

Status SimStore::remove(const std::string& path) {
  if (!exists(path)) return Error{.code = Errc::not_found, .sys_errno = ENOENT, .what = "remove"};
  OVHD_CHECK(step());
  names_.erase(path);
  return Ok{};
}

Result<std::vector<std::string>> SimStore::list(const std::string&) {
  std::vector<std::string> out;
  for (const auto& [name, entry] : names_) out.push_back(name);
  return out;
}

std::vector<std::uint64_t> SimStore::cuts() const {
  std::set<std::uint64_t> ticks{0};
  const auto add = [&](const Names& names) {
    for (const auto& [name, entry] : names) {
      if (const auto* disk = std::get_if<std::shared_ptr<SimDisk>>(&entry)) {
        ticks.merge([&] {
          const auto own = crash_ticks(**disk);
          return std::set<std::uint64_t>{own.begin(), own.end()};
        }());
      }
    }
  };
  add(names_);
  for (const Step& step : steps_) {
    add(step.before);
    ticks.insert(step.tick);
    ticks.insert(step.tick + 1);
  }
  return {ticks.begin(), ticks.end()};
}

std::shared_ptr<SimStore> SimStore::after_cut(std::uint64_t tick, Survivors survivors,
                                              std::uint64_t seed) const {
  const auto later = std::ranges::find_if(steps_, [&](const Step& s) { return s.tick >= tick; });
  const Names& names = later == steps_.end() ? names_ : later->before;
  auto out = std::make_shared<SimStore>();
  std::mt19937_64 random{seed};
  for (const auto& [name, entry] : names) {
    const auto* disk = std::get_if<std::shared_ptr<SimDisk>>(&entry);
    if (disk == nullptr) {
      out->names_[name] = entry;
      continue;
    }
    const CrashPoint point{**disk, tick};
    std::vector<bool> keep(point.optional_atoms(), survivors == Survivors::all);
    if (survivors == Survivors::some) {
      for (auto&& one : keep) one = random() % 2 == 0;
    }
    out->put(name, *point.state(keep));
  }
  return out;
}

std::shared_ptr<SimStore> SimStore::copy() const { return after_cut(kNever, Survivors::all, 0); }

void SimStore::put(const std::string& path, const MemoryStore& contents) {
  auto disk = std::make_shared<SimDisk>(contents, power_);
  disk->now().identity.inode = next_inode_++;
  names_[path] = disk;
}

}  // namespace openvhd::test
