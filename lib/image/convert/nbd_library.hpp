/// libnbd, loaded when a URI is first used: with the libraries that it brings (TLS among them) it
/// costs more time and memory than most commands of a disk tool take as a whole.
#pragma once

#include <libnbd.h>

#include <openvhd/error.hpp>

namespace openvhd {

/// The functions that are used, under their own names without the prefix.
struct NbdLibrary {
  decltype(&::nbd_create) create;
  decltype(&::nbd_close) close;
  decltype(&::nbd_get_error) get_error;
  decltype(&::nbd_get_errno) get_errno;
  decltype(&::nbd_add_meta_context) add_meta_context;
  decltype(&::nbd_set_uri_allow_transports) set_uri_allow_transports;
  decltype(&::nbd_aio_connect_uri) aio_connect_uri;
  decltype(&::nbd_aio_is_connecting) aio_is_connecting;
  decltype(&::nbd_aio_is_ready) aio_is_ready;
  decltype(&::nbd_aio_is_dead) aio_is_dead;
  decltype(&::nbd_aio_is_closed) aio_is_closed;
  decltype(&::nbd_poll) poll;
  decltype(&::nbd_get_size) get_size;
  decltype(&::nbd_get_block_size) get_block_size;
  decltype(&::nbd_is_read_only) is_read_only;
  decltype(&::nbd_can_flush) can_flush;
  decltype(&::nbd_can_zero) can_zero;
  decltype(&::nbd_can_meta_context) can_meta_context;
  decltype(&::nbd_aio_get_direction) aio_get_direction;
  decltype(&::nbd_aio_get_fd) aio_get_fd;
  decltype(&::nbd_aio_disconnect) aio_disconnect;
  decltype(&::nbd_aio_pread) aio_pread;
  decltype(&::nbd_aio_pwrite) aio_pwrite;
  decltype(&::nbd_aio_zero) aio_zero;
  decltype(&::nbd_aio_block_status) aio_block_status;
  decltype(&::nbd_aio_flush) aio_flush;

  /// Loads it once; it stays. Thread safe. Errors: unsupported (it is not installed).
  static Result<const NbdLibrary*> load() noexcept;
};

}  // namespace openvhd
