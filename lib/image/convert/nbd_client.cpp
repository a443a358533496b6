#include "image/convert/nbd_client.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>

#include "base/checked.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kLargestMinimum = 64 * kKiB;  // NBD protocol, "Block size constraints"
constexpr std::uint64_t kDefaultMaximum = 32 * kMiB;  // likewise, where a server names none
constexpr std::uint64_t kLargestExport = std::uint64_t{1} << 62;
constexpr int kPollMs = 250;

std::string one_line(const char* text) {
  std::string line = text == nullptr ? "" : text;
  std::ranges::replace_if(line, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return line;
}

Error fails(const char* what) noexcept { return {.code = Errc::unsupported, .what = what}; }

bool offers(int answer) noexcept { return answer == 1; }

}  // namespace

bool is_nbd_uri(std::string_view text) noexcept {
  constexpr std::array<std::string_view, 4> kSchemes{"nbd:", "nbds:", "nbd+unix:", "nbds+unix:"};
  return std::ranges::any_of(kSchemes,
                             [&](std::string_view scheme) { return text.starts_with(scheme); });
}

Error nbd_failure(int code, std::uint64_t at, const char* what) noexcept {
  const bool full = code == ENOSPC || code == EDQUOT;
  const bool missing = code == ENOENT || code == ECONNREFUSED;
  return {.code = full      ? Errc::no_space
                  : missing ? Errc::not_found
                            : Errc::io,
          .sys_errno = code,
          .where = {at},
          .what = what};
}

Error NbdClient::failure(const char* what) const noexcept {
  return nbd_failure(nbd_->get_errno(), 0, what);
}

Result<NbdClient> NbdClient::connect(const std::string& uri, std::string& why) {
  OVHD_TRY(const NbdLibrary* const library, NbdLibrary::load());
  const NbdLibrary& nbd = *library;
  Handle handle{nbd.create(), nbd.close};
  if (!handle) return nbd_failure(nbd.get_errno(), 0, "NBD: no handle");
  NbdClient client{nbd, std::move(handle)};
  nbd_handle* const h = client.handle();
  const auto failed = [&](const char* what) {
    const Error error = client.failure(what);
    why = one_line(nbd.get_error());
    return error;
  };
  if (nbd.add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) == -1 ||
      nbd.set_uri_allow_transports(h, LIBNBD_ALLOW_TRANSPORT_TCP | LIBNBD_ALLOW_TRANSPORT_UNIX) ==
          -1) {
    return failed("NBD: setting up");
  }
  if (nbd.aio_connect_uri(h, uri.c_str()) == -1) return failed("NBD: connecting");
  const auto deadline = std::chrono::steady_clock::now() + kHandshake;
  while (nbd.aio_is_connecting(h) == 1) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return nbd_failure(ETIMEDOUT, 0, "NBD: the server does not finish the handshake");
    }
    if (nbd.poll(h, kPollMs) == -1) return failed("NBD: handshake");
  }
  if (nbd.aio_is_ready(h) != 1) return failed("NBD: handshake");
  OVHD_CHECK(client.learn());
  return client;
}

Status NbdClient::learn() noexcept {
  nbd_handle* const h = handle();
  const std::int64_t size = nbd_->get_size(h);
  const std::int64_t minimum = nbd_->get_block_size(h, LIBNBD_SIZE_MINIMUM);
  const std::int64_t maximum = nbd_->get_block_size(h, LIBNBD_SIZE_MAXIMUM);
  if (size < 0 || minimum < 0 || maximum < 0) return failure("NBD: sizes of the export");
  if (static_cast<std::uint64_t>(size) > kLargestExport) return fails("NBD: size of the export");
  const auto block = static_cast<std::uint64_t>(std::max<std::int64_t>(minimum, 1));
  if (!std::has_single_bit(block) || block > kLargestMinimum) {
    return fails("NBD: a minimum block size that is no power of two up to 64 KiB");
  }
  if (!is_multiple(static_cast<std::uint64_t>(size), block)) {
    return fails("NBD: a size that is not a multiple of the minimum block size");
  }
  const auto most = maximum == 0 ? kDefaultMaximum
                                 : std::min(static_cast<std::uint64_t>(maximum), kDefaultMaximum);
  if (most < 4 * block) return fails("NBD: a maximum block size below 4 minimum blocks");
  export_ = {.size = static_cast<std::uint64_t>(size),
             .minimum_block = static_cast<std::uint32_t>(block),
             .maximum_block = most,
             .read_only = offers(nbd_->is_read_only(h)),
             .flush = offers(nbd_->can_flush(h)),
             .zero = offers(nbd_->can_zero(h)),
             .block_status = offers(nbd_->can_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION))};
  return Ok{};
}

bool NbdClient::alive() const noexcept {
  return handle_ && nbd_->aio_is_dead(handle()) != 1 && nbd_->aio_is_closed(handle()) != 1;
}

Readiness NbdClient::readiness() const noexcept {
  if (!alive()) return {};
  const unsigned direction = nbd_->aio_get_direction(handle());
  unsigned events = 0;
  if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0) events |= POLLIN;
  if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) events |= POLLOUT;
  return {.descriptor = nbd_->aio_get_fd(handle()), .events = static_cast<short>(events)};
}

bool NbdClient::pump() noexcept {
  if (!alive()) return false;
  // -1 is a connection that has died: its commands have then ended through their callbacks.
  const bool moved = nbd_->poll(handle(), 0) != 0;
  if (moved) expect();
  return moved;
}

bool NbdClient::stalled() const noexcept {
  return std::chrono::steady_clock::now() - last_sign_ > kStall;
}

Status NbdClient::wait_for(const bool& done) noexcept {
  expect();
  while (!done) {
    if (!alive()) return nbd_failure(ENOTCONN, 0, "NBD: the connection is gone");
    if (stalled()) return nbd_failure(ETIMEDOUT, 0, "NBD: the server hangs");
    if (nbd_->poll(handle(), kPollMs) == 1) expect();
  }
  return Ok{};
}

void NbdClient::disconnect() noexcept {
  if (!alive() || nbd_->aio_disconnect(handle(), 0) == -1) return;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{5};
  while (alive() && std::chrono::steady_clock::now() < deadline) {
    if (nbd_->poll(handle(), kPollMs) == -1) break;
  }
}

}  // namespace openvhd
