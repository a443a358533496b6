#define FUSE_USE_VERSION 312  // NOLINT(readability-identifier-naming): theirs
#include <fuse_lowlevel.h>
#include <linux/falloc.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "fuse_state.hpp"

namespace vhdtool {
namespace {

using openvhd::Errc;
using openvhd::Error;
using openvhd::MapEntry;
using openvhd::Status;
using openvhd::VirtualOffset;

constexpr fuse_ino_t kFile = 2;
// Nothing about the file changes while it is mounted.
constexpr double kForever = 86400;
constexpr std::size_t kBlock = 4096;
// Look-ups of a seek between two looks at whether somebody still waits.
constexpr unsigned kSeekSteps = 4096;

/// Memory for reads, kept by the thread: new memory for each would cost a fault per page.
class ReadBuffer {
 public:
  /// Fewer bytes where there is no memory.
  std::span<std::byte> take(std::size_t bytes) {
    if (bytes > bytes_) {
      bytes_ = (bytes + kBlock - 1) / kBlock * kBlock;
      memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kBlock, bytes_)));
      if (!memory_) bytes_ = 0;
    }
    return {memory_.get(), std::min(bytes, bytes_)};
  }

 private:
  struct Free {
    // The counterpart of aligned_alloc.
    void operator()(std::byte* memory) const noexcept {
      std::free(memory);  // NOLINT(cppcoreguidelines-no-malloc)
    }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t bytes_ = 0;
};
thread_local ReadBuffer read_buffer;

FuseState& state_of(fuse_req_t request) noexcept {
  return *static_cast<FuseState*>(fuse_req_userdata(request));
}

int number_of(const Error& error) noexcept {
  switch (error.code) {
    case Errc::no_space:
      return ENOSPC;
    case Errc::read_only:
      return EROFS;
    case Errc::out_of_range:
    case Errc::misaligned:
    case Errc::invalid:
      return EINVAL;
    default:
      return EIO;
  }
}

/// The number for the caller; the line for whoever reads our standard error.
int number_after_saying(const FuseState& state, const Error& error) {
  const auto& files = state.disk.files();
  const auto line = describe(error, files[error.layer < files.size() ? error.layer : 0]);
  std::fprintf(stderr, "vhdtool: %s\n", line.c_str());
  return number_of(error);
}

void answer(fuse_req_t request, const Status& status) {
  fuse_reply_err(request, status ? 0 : number_after_saying(state_of(request), status.error()));
}

/// How much of [at, at + length) is in the file.
std::uint64_t inside(const FuseState& state, off_t at, std::uint64_t length) noexcept {
  const auto begin = static_cast<std::uint64_t>(at);
  if (at < 0 || begin >= state.window.length) return 0;
  return std::min(length, state.window.length - begin);
}

VirtualOffset on_disk(const FuseState& state, off_t at) noexcept {
  return {state.window.at + static_cast<std::uint64_t>(at)};
}

void init(void*, fuse_conn_info* connection) {
  // No write-back cache: what a program wrote is ours when its write returns, and is not lost with
  // the kernel's pages when this process dies.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_WRITEBACK_CACHE);
}

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (parent != FUSE_ROOT_ID || std::strcmp(name, kDiskFile) != 0) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_entry_param entry{};
  entry.ino = kFile;
  entry.attr = state_of(request).file;
  entry.attr_timeout = kForever;
  entry.entry_timeout = kForever;
  fuse_reply_entry(request, &entry);
}

void getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  const FuseState& state = state_of(request);
  fuse_reply_attr(request, inode == kFile ? &state.file : &state.root, kForever);
}

/// A disk has one size. What else programs set (times, with some copies) does not matter to it.
void setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int what, fuse_file_info*) {
  const FuseState& state = state_of(request);
  const bool size = (what & FUSE_SET_ATTR_SIZE) != 0;
  constexpr int kRights = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
  if ((size && wanted->st_size != state.file.st_size) || (what & kRights) != 0) {
    fuse_reply_err(request, EPERM);
    return;
  }
  fuse_reply_attr(request, inode == kFile ? &state.file : &state.root, kForever);
}

void readdir(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t at, fuse_file_info*) {
  if (inode != FUSE_ROOT_ID) {
    fuse_reply_err(request, ENOTDIR);
    return;
  }
  const FuseState& state = state_of(request);
  struct Entry {
    const char* name;
    const struct stat* status;
  };
  const std::array entries{Entry{".", &state.root}, Entry{"..", &state.root},
                           Entry{kDiskFile, &state.file}};
  std::string out(size, '\0');
  std::size_t used = 0;
  for (auto i = static_cast<std::size_t>(std::max<off_t>(at, 0)); i < entries.size(); ++i) {
    const std::size_t bytes =
        fuse_add_direntry(request, out.data() + used, size - used, entries[i].name,
                          entries[i].status, static_cast<off_t>(i + 1));
    if (bytes > size - used) break;
    used += bytes;
  }
  fuse_reply_buf(request, out.data(), used);
}

void open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file) {
  if (inode != kFile) {
    fuse_reply_err(request, EISDIR);
    return;
  }
  if (state_of(request).read_only && (file->flags & O_ACCMODE) != O_RDONLY) {
    fuse_reply_err(request, EROFS);
    return;
  }
  // Nobody but this file changes the disk: what the kernel has of it stays true.
  file->keep_cache = 1;
  fuse_reply_open(request, file);
}

// There is one file. Without these, programs would hear of a call that is not implemented.
void mknod(fuse_req_t request, fuse_ino_t, const char*, mode_t, dev_t) {
  fuse_reply_err(request, EPERM);
}
void unlink(fuse_req_t request, fuse_ino_t, const char*) { fuse_reply_err(request, EPERM); }

void read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t at, fuse_file_info*) {
  FuseState& state = state_of(request);
  const auto into = read_buffer.take(inside(state, at, size));
  if (into.empty()) {
    fuse_reply_buf(request, nullptr, 0);
    return;
  }
  const Status status = state.disk.read(on_disk(state, at), into);
  if (!status) {
    answer(request, status);
    return;
  }
  fuse_reply_buf(request, reinterpret_cast<const char*>(into.data()), into.size());
}

void write(fuse_req_t request, fuse_ino_t, const char* from, std::size_t size, off_t at,
           fuse_file_info*) {
  FuseState& state = state_of(request);
  const std::uint64_t length = inside(state, at, size);
  if (length == 0 && size != 0) {
    fuse_reply_err(request, ENOSPC);  // as a block device has it
    return;
  }
  const std::span bytes{reinterpret_cast<const std::byte*>(from), length};
  const Status status = state.disk.write(on_disk(state, at), bytes, false);
  if (!status) {
    answer(request, status);
    return;
  }
  fuse_reply_write(request, length);
}

void flush(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, 0); }

void fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
  FuseState& state = state_of(request);
  if (state.read_only) {
    fuse_reply_err(request, 0);
    return;
  }
  answer(request, state.disk.flush());
}

void fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t at, off_t length, fuse_file_info*) {
  FuseState& state = state_of(request);
  const std::uint64_t part =
      inside(state, at, static_cast<std::uint64_t>(std::max<off_t>(length, 0)));
  const bool grows =
      part != static_cast<std::uint64_t>(length) && (mode & FALLOC_FL_KEEP_SIZE) == 0;
  if (state.read_only) {
    fuse_reply_err(request, EROFS);
  } else if (grows) {
    fuse_reply_err(request, ENOSPC);
  } else if ((mode & FALLOC_FL_PUNCH_HOLE) != 0) {
    answer(request, state.disk.trim(on_disk(state, at), part, false));
  } else if ((mode & FALLOC_FL_ZERO_RANGE) != 0) {
    answer(request, state.disk.zero(on_disk(state, at), part, false));
  } else {
    // Space for later writes is nothing that images promise.
    fuse_reply_err(request, EOPNOTSUPP);
  }
}

/// Holes are what reads as zeros and is not stored.
void lseek(fuse_req_t request, fuse_ino_t, off_t from, int whence, fuse_file_info*) {
  FuseState& state = state_of(request);
  const bool for_data = whence == SEEK_DATA;
  if (inside(state, from, 1) == 0 || (!for_data && whence != SEEK_HOLE)) {
    fuse_reply_err(request, for_data || whence == SEEK_HOLE ? ENXIO : EINVAL);
    return;
  }
  const std::uint64_t sector = state.disk.geometry().logical_sector_size;
  const std::uint64_t end = state.window.at + state.window.length;
  const std::uint64_t begin = on_disk(state, from).value;
  std::uint64_t at = begin - begin % sector;
  for (unsigned step = 1; at < end; ++step) {
    if (step % kSeekSteps == 0 && fuse_req_interrupted(request) != 0) {
      fuse_reply_err(request, EINTR);
      return;
    }
    const auto entry = state.disk.map({at}, end - at);
    if (!entry) {
      fuse_reply_err(request, number_after_saying(state, entry.error()));
      return;
    }
    if ((entry->kind == MapEntry::Kind::data) == for_data) break;
    at += entry->length;
  }
  if (at >= end && for_data) {
    fuse_reply_err(request, ENXIO);
    return;
  }
  fuse_reply_lseek(request, static_cast<off_t>(std::max(at, begin) - state.window.at));
}

void statfs(fuse_req_t request, fuse_ino_t) {
  const FuseState& state = state_of(request);
  struct statvfs out{};
  out.f_bsize = kBlock;
  out.f_frsize = kBlock;
  out.f_blocks = (state.window.length + kBlock - 1) / kBlock;
  out.f_files = 2;
  out.f_namemax = 255;
  fuse_reply_statfs(request, &out);
}

void getxattr(fuse_req_t request, fuse_ino_t inode, const char* name, std::size_t size) {
  if (inode != FUSE_ROOT_ID || std::strcmp(name, kServerAttribute) != 0) {
    fuse_reply_err(request, ENODATA);
    return;
  }
  const std::string text = std::to_string(::getpid());
  if (size == 0) {
    fuse_reply_xattr(request, text.size());
  } else if (size < text.size()) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, text.data(), text.size());
  }
}

fuse_lowlevel_ops filled_in() noexcept {
  fuse_lowlevel_ops calls{};
  calls.init = init;
  calls.lookup = lookup;
  calls.getattr = getattr;
  calls.setattr = setattr;
  calls.readdir = readdir;
  calls.open = open;
  calls.mknod = mknod;
  calls.unlink = unlink;
  calls.read = read;
  calls.write = write;
  calls.flush = flush;
  calls.fsync = fsync;
  calls.fallocate = fallocate;
  calls.lseek = lseek;
  calls.statfs = statfs;
  calls.getxattr = getxattr;
  return calls;
}

}  // namespace

const fuse_lowlevel_ops& fuse_calls() noexcept {
  static const fuse_lowlevel_ops calls = filled_in();
  return calls;
}

}  // namespace vhdtool
