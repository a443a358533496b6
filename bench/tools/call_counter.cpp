// A library for LD_PRELOAD: counts what takes memory from the heap and what takes locks, and says
// at exit, on standard error: "calls allocations=N frees=N locks=N". Two runs of different length
// tell what one operation costs.
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);
}

namespace {

constinit std::atomic<unsigned long> allocations{0};
constinit std::atomic<unsigned long> frees{0};
constinit std::atomic<unsigned long> locks{0};

void count(std::atomic<unsigned long>& counter) { counter.fetch_add(1, std::memory_order_relaxed); }

// The next definition behind this library. Looked up once for each function: dlsym() may take a
// lock of its own, which must not count.
template <class Function>
Function next(const char* name) {
  const auto found = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
  if (found == nullptr) abort();
  return found;
}

struct Report {
  ~Report() {
    char line[128];
    const int length =
        std::snprintf(line, sizeof line, "calls allocations=%lu frees=%lu locks=%lu\n",
                      allocations.load(), frees.load(), locks.load());
    if (write(STDERR_FILENO, line, static_cast<size_t>(length)) < 0) _exit(1);
  }
} report;

}  // namespace

extern "C" {

void* malloc(size_t size) {
  count(allocations);
  return __libc_malloc(size);
}
void* calloc(size_t number, size_t size) {
  count(allocations);
  return __libc_calloc(number, size);
}
void* realloc(void* memory, size_t size) {
  count(allocations);
  return __libc_realloc(memory, size);
}
void* memalign(size_t alignment, size_t size) {
  count(allocations);
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  count(allocations);
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** into, size_t alignment, size_t size) {
  count(allocations);
  *into = __libc_memalign(alignment, size);
  return *into == nullptr ? ENOMEM : 0;
}
void free(void* memory) {
  if (memory != nullptr) count(frees);
  __libc_free(memory);
}

#define COUNT_LOCK(name, type)                            \
  int name(type* lock) {                                  \
    static const auto real = next<int (*)(type*)>(#name); \
    count(locks);                                         \
    return real(lock);                                    \
  }

COUNT_LOCK(pthread_mutex_lock, pthread_mutex_t)
COUNT_LOCK(pthread_mutex_trylock, pthread_mutex_t)
COUNT_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
COUNT_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)
COUNT_LOCK(pthread_rwlock_tryrdlock, pthread_rwlock_t)
COUNT_LOCK(pthread_rwlock_trywrlock, pthread_rwlock_t)

int pthread_spin_lock(pthread_spinlock_t* lock) {
  static const auto real = next<int (*)(pthread_spinlock_t*)>("pthread_spin_lock");
  count(locks);
  return real(lock);
}

}  // extern "C"
