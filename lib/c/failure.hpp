/// From the library's errors to errno numbers and this thread's message.
#pragma once

#include <openvhd/openvhd.h>

#include <exception>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <string>

namespace openvhd::c {

/// The negative errno number of an error.
int number_of(const Error& error) noexcept;

/// Keeps what ovhd_reason() and ovhd_message() say in this thread; the negative errno number.
int fail(const Error& error, const std::string& file);
/// Of the file that the error speaks of: of a report of a failed call, else `file`.
int fail(const Error& error, const OpenReport& report, const std::string& file);
/// Of an argument, with no file to name. `what` is a literal.
int fail_argument(const char* what) noexcept;
/// What was thrown: memory that is not there.
int fail_thrown() noexcept;

/// Runs `work`, which may run out of memory; nothing is thrown at callers in C.
template <class Work>
int guarded(Work work) noexcept {
  try {
    return work();
  } catch (const std::exception&) {
    return fail_thrown();
  }
}

}  // namespace openvhd::c
