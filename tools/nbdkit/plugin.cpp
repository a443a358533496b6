// nbdkit-openvhd-plugin.so: VHD and VHDX images over NBD. nbdkit has the protocol, TLS, sockets and
// threads; this has what it asks of a disk.
//
// Images are opened before nbdkit goes into the background, so that what is wrong with them is seen
// where it was started. It then forks: nothing runs yet in a ParallelDisk, its locks go along, and
// the process that stays behind ends through exit(), which must not find anything to close. So what
// is there lives behind a plain pointer that no destructor knows.
#include <algorithm>
#include <cerrno>
#include <exception>
#include <list>
#include <memory>
#include <string_view>

#include "export.hpp"
#include "settings.hpp"

// NOLINTNEXTLINE(readability-identifier-naming): nbdkit's
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

namespace openvhd::nbd {
namespace {

struct Server {
  Settings settings;
  std::list<Export> exports;
};

constinit Server* server = nullptr;

struct Connection {
  Export* target;
  bool read_only;
};

Connection& connection(void* handle) noexcept { return *static_cast<Connection*>(handle); }
Export& disk(void* handle) noexcept { return *connection(handle).target; }

/// Nothing is thrown at nbdkit, which is C.
template <class Failed, class Work>
Failed guarded(Failed failed, Work work) noexcept {
  try {
    return work();
  } catch (const std::exception& error) {
    nbdkit_error("%s", error.what());
    nbdkit_set_error(ENOMEM);
    return failed;
  }
}

int complain(const std::string& problem) noexcept {
  nbdkit_error("%s", problem.c_str());
  return -1;
}

void load() { server = std::make_unique<Server>().release(); }

void unload() {
  const std::unique_ptr<Server> ours{server};
  server = nullptr;
  if (ours == nullptr) return;
  for (Export& one : ours->exports) one.close();
}

int config(const char* key, const char* value) {
  return guarded(-1, [&] {
    const auto problem = server->settings.take(key, value);
    return problem.empty() ? 0 : complain(problem);
  });
}

int config_complete() {
  return guarded(-1, [] {
    const auto problem = server->settings.problem();
    return problem.empty() ? 0 : complain(problem);
  });
}

int open_all() {
  auto& settings = server->settings;
  const auto names = export_names(settings.files);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string& file = settings.files[i];
    OpenReport report;
    settings.open.report = &report;
    auto opened = ParallelDisk::open(file, settings.open);
    settings.open.report = nullptr;
    if (!opened) {
      const std::size_t layer = opened.error().layer;
      return complain(
          describe(opened.error(), layer < report.files.size() ? report.files[layer] : file));
    }
    for (const std::string& note : report.notes) nbdkit_debug("%s: %s", file.c_str(), note.c_str());
    server->exports.emplace_back(names[i], file, *std::move(opened));
  }
  return 0;
}

int get_ready() { return guarded(-1, open_all); }

int list_exports(int, int, nbdkit_exports* exports) {
  for (const Export& one : server->exports) {
    if (nbdkit_add_export(exports, one.name().c_str(), one.file().c_str()) == -1) return -1;
  }
  return 0;
}

const char* default_export(int, int) {
  // Of several none is the default one: whoever names none means nothing in particular.
  return server->exports.size() == 1 ? "" : nullptr;
}

void* open_connection(int read_only) {
  return guarded<void*>(nullptr, [&]() -> void* {
    auto& exports = server->exports;
    const char* const name = nbdkit_export_name();
    const std::string_view wanted = name != nullptr ? name : "";
    const auto found = std::ranges::find(
        exports, wanted, [](const Export& one) { return std::string_view{one.name()}; });
    if (found != exports.end()) {
      return std::make_unique<Connection>(Connection{&*found, read_only != 0}).release();
    }
    nbdkit_error("no export '%s'", name != nullptr ? name : "");
    nbdkit_set_error(ENOENT);
    return nullptr;
  });
}

void close_connection(void* handle) {
  std::unique_ptr<Connection>{static_cast<Connection*>(handle)}.reset();
}

const char* export_description(void* handle) {
  return nbdkit_strdup_intern(disk(handle).file().c_str());
}

std::int64_t get_size(void* handle) { return static_cast<std::int64_t>(disk(handle).size()); }

int can_write(void* handle) {
  return disk(handle).writable() && !connection(handle).read_only ? 1 : 0;
}

int yes(void*) { return 1; }
int no(void*) { return 0; }
int can_fua(void*) { return NBDKIT_FUA_NATIVE; }

int block_size(void* handle, std::uint32_t* minimum, std::uint32_t* preferred,
               std::uint32_t* maximum) {
  constexpr std::uint32_t kMost = 32U << 20;
  *minimum = disk(handle).sector();
  *preferred = disk(handle).preferred_block();
  *maximum = kMost;
  return 0;
}

int pread(void* handle, void* into, std::uint32_t count, std::uint64_t at, std::uint32_t) {
  return disk(handle).read(into, count, at);
}
int pwrite(void* handle, const void* from, std::uint32_t count, std::uint64_t at,
           std::uint32_t flags) {
  return disk(handle).write(from, count, at, flags);
}
int flush(void* handle, std::uint32_t) { return disk(handle).flush(); }
int trim(void* handle, std::uint32_t count, std::uint64_t at, std::uint32_t flags) {
  return disk(handle).trim(count, at, flags);
}
int zero(void* handle, std::uint32_t count, std::uint64_t at, std::uint32_t flags) {
  return disk(handle).zero(count, at, flags);
}
int extents(void* handle, std::uint32_t count, std::uint64_t at, std::uint32_t flags,
            nbdkit_extents* into) {
  return disk(handle).extents(count, at, flags, into);
}

/// By assignment: the fields' order is the header's own affair.
nbdkit_plugin described() noexcept {
  nbdkit_plugin out{};
  out.name = "openvhd";
  out.longname = "VHD and VHDX disk images";
  out.version = OPENVHD_VERSION;
  out.description = "Serves VHD and VHDX images, chains of them included.";
  out.magic_config_key = "file";
  out.config_help = kKeys;
  out.load = load;
  out.unload = unload;
  out.config = config;
  out.config_complete = config_complete;
  out.get_ready = get_ready;
  out.list_exports = list_exports;
  out.default_export = default_export;
  out.export_description = export_description;
  out.open = open_connection;
  out.close = close_connection;
  out.get_size = get_size;
  out.block_size = block_size;
  out.can_write = can_write;
  out.can_flush = can_write;
  out.can_trim = can_write;
  out.can_zero = can_write;
  out.can_fast_zero = can_write;
  out.can_fua = can_fua;
  out.can_multi_conn = yes;
  out.can_extents = yes;
  out.is_rotational = no;
  out.pread = pread;
  out.pwrite = pwrite;
  out.flush = flush;
  out.trim = trim;
  out.zero = zero;
  out.extents = extents;
  return out;
}

nbdkit_plugin plugin = described();

}  // namespace
}  // namespace openvhd::nbd

NBDKIT_REGISTER_PLUGIN(openvhd::nbd::plugin)
