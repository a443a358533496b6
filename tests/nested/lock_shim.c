/* LD_PRELOAD for an unmodified qemu-system-x86_64 that emulates AMD-V. Its write to CR8 raises a
 * virtual interrupt without the big lock, which an assertion punishes by aborting. This wraps the
 * accelerator's handle_interrupt slot: the lock is taken where it is not held. The slot is found
 * by the name of the function in it, so that no structure's layout is assumed; without the symbols
 * nothing happens and nothing is printed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { SLOTS = 48 };
typedef void (*interrupt_fn)(void *cpu, int mask);
typedef int (*create_fn)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static interrupt_fn original;
static bool (*is_locked)(void);
static void (*take)(const char *, int);
static void (*release)(void);

static void *either(const char *newer, const char *older) {
  void *found = dlsym(RTLD_DEFAULT, newer);
  return found ? found : dlsym(RTLD_DEFAULT, older);
}

static void with_lock(void *cpu, int mask) {
  const bool held = is_locked();
  if (!held) take(__FILE__, __LINE__);
  original(cpu, mask);
  if (!held) release();
}

static void wrap(void) {
  void *(*class_by_name)(const char *) = dlsym(RTLD_DEFAULT, "object_class_by_name");
  is_locked = either("bql_locked", "qemu_mutex_iothread_locked");
  take = either("bql_lock_impl", "qemu_mutex_lock_iothread_impl");
  release = either("bql_unlock", "qemu_mutex_unlock_iothread");
  void **ops = class_by_name ? class_by_name("tcg-accel-ops") : NULL;
  if (!ops || !is_locked || !take || !release) return;
  for (int i = 0; i < SLOTS; ++i) {
    Dl_info info;
    if ((uintptr_t)ops[i] < 0x10000 || !dladdr(ops[i], &info) || !info.dli_sname) continue;
    if (info.dli_saddr != ops[i] || strcmp(info.dli_sname, "tcg_handle_interrupt") != 0) continue;
    original = (interrupt_fn)ops[i];
    ops[i] = (void *)with_lock;
    fprintf(stderr, "lock-shim: in place\n");
    return;
  }
}

/* QEMU makes its first thread after its classes are registered. */
int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *with) {
  static create_fn real;
  if (!real) real = (create_fn)dlsym(RTLD_NEXT, "pthread_create");
  if (!original && dlsym(RTLD_DEFAULT, "qemu_init")) wrap();
  return real(thread, how, run, with);
}
