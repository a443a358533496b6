#include "image/convert/nbd_library.hpp"

#include <dlfcn.h>

#include <optional>

namespace openvhd {
namespace {

constexpr const char* kName = "libnbd.so.0";

class Loader {
 public:
  Loader() noexcept
      : library_{::dlopen(kName, RTLD_NOW | RTLD_LOCAL)}, complete_{library_ != nullptr} {}

  template <class Function>
  Loader& operator()(Function& into, const char* name) noexcept {
    void* const symbol = library_ == nullptr ? nullptr : ::dlsym(library_, name);
    into = reinterpret_cast<Function>(symbol);
    complete_ = complete_ && symbol != nullptr;
    return *this;
  }
  bool complete() const noexcept { return complete_; }

 private:
  void* library_;
  bool complete_;
};

std::optional<NbdLibrary> load_all() noexcept {
  NbdLibrary out{};
  Loader load;
  load(out.create, "nbd_create")(out.close, "nbd_close");
  load(out.get_error, "nbd_get_error")(out.get_errno, "nbd_get_errno");
  load(out.add_meta_context, "nbd_add_meta_context");
  load(out.set_uri_allow_transports, "nbd_set_uri_allow_transports");
  load(out.aio_connect_uri, "nbd_aio_connect_uri");
  load(out.aio_is_connecting, "nbd_aio_is_connecting")(out.aio_is_ready, "nbd_aio_is_ready");
  load(out.aio_is_dead, "nbd_aio_is_dead")(out.aio_is_closed, "nbd_aio_is_closed");
  load(out.poll, "nbd_poll")(out.get_size, "nbd_get_size");
  load(out.get_block_size, "nbd_get_block_size")(out.is_read_only, "nbd_is_read_only");
  load(out.can_flush, "nbd_can_flush")(out.can_zero, "nbd_can_zero");
  load(out.can_meta_context, "nbd_can_meta_context");
  load(out.aio_get_direction, "nbd_aio_get_direction")(out.aio_get_fd, "nbd_aio_get_fd");
  load(out.aio_disconnect, "nbd_aio_disconnect")(out.aio_pread, "nbd_aio_pread");
  load(out.aio_pwrite, "nbd_aio_pwrite")(out.aio_zero, "nbd_aio_zero");
  load(out.aio_block_status, "nbd_aio_block_status")(out.aio_flush, "nbd_aio_flush");
  if (!load.complete()) return std::nullopt;
  return out;
}

}  // namespace

Result<const NbdLibrary*> NbdLibrary::load() noexcept {
  static const std::optional<NbdLibrary> library = load_all();
  if (!library) return Error{.code = Errc::unsupported, .what = "NBD needs libnbd.so.0, libnbd0"};
  return &*library;
}

}  // namespace openvhd
