/// Locks that keep two writers off one image, QEMU among them (RELIABILITY e.4, e.5). They are
/// open-file-description locks: a dying process leaves none, closing another descriptor of the
/// same file drops none. They are advisory, and on many network file systems local to this host.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>

#include "base/fd.hpp"
#include "io/lock.hpp"

namespace openvhd {

/// Takes `lock`, which the open file description then holds until it is closed. Errors: busy,
/// with nothing locked, when somebody holds what contradicts it; unsupported where the file
/// system has no locks; io.
Status take_lock(const Fd& file, Lock lock) noexcept;

/// Takes `lock` in place of the one that `file` holds. Between two locks nobody gets in. Errors: as
/// take_lock(), with the old lock still there.
Status change_lock(const Fd& file, Lock from, Lock to) noexcept;

/// Lets go of whatever take_lock() took, at once: the kernel may keep a closed description, and
/// its locks, until a worker of io_uring has put away its last request.
void drop_lock(const Fd& file) noexcept;

/// Whom an attempt to lock would meet.
enum class Holder : std::uint8_t { nobody, readers, writer };

/// Asks who else holds `file`, without locking anything.
Result<Holder> lock_holder(const Fd& file) noexcept;

}  // namespace openvhd
