/// Kernels that lack something, made of this one.
#pragma once

namespace openvhd::test {

/// From now on this process and its children get `error` from the system call of this number. For
/// good: call it in a Child. False where filters are not permitted.
bool deny_system_call(long number, int error);

}  // namespace openvhd::test
