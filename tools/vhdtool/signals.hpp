/// SIGINT and SIGTERM ask for a clean stop; a second one stops at once.
#pragma once

namespace vhdtool {

/// Once, before any work.
void catch_interrupts() noexcept;

/// A clean stop was asked for.
bool interrupted() noexcept;

/// What catch_interrupts() did is undone: a library in this program wants the signals.
void leave_interrupts_to_others() noexcept;

/// A file at the size that the process may make it fails writes with EFBIG in place of ending the
/// process, so that what was begun is cleaned up.
void survive_size_limits() noexcept;

/// A reader that goes away makes writes fail with EPIPE in place of ending the process, so that
/// what was begun is cleaned up.
void survive_closed_pipes() noexcept;

}  // namespace vhdtool
