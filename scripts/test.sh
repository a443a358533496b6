#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests. Ends with "N passed, N failed".
#   scripts/test.sh [--tier quick|default|sanitize|full] [--no-install]
#     quick    optimised build; no packaging, no slow tests
#     default  optimised build with packaging; what runs on many threads under ThreadSanitizer
#     sanitize Clang with sanitizers, without the longest suites; short fuzzing
#     full     also the slow tests, GCC with sanitizers, ThreadSanitizer, lint, longer fuzzing
set -uo pipefail
cd "$(dirname "$0")/.." || exit

tier=default
install=yes
while (($# > 0)); do
  case $1 in
    --tier=*) tier=${1#--tier=} ;;
    --tier) tier=${2:-}; shift ;;
    --no-install) install=no ;;
    *) tier=unknown ;;
  esac
  shift || true
done
if [[ ! $tier =~ ^(quick|default|sanitize|full)$ ]]; then
  sed -n '2,8s/^# \?//p' "$0" >&2
  exit 2
fi

passed=0
failed=0
skipped=()
failures=()
jobs=$(nproc)
logs=build/logs
mkdir -p "$logs"

# Sanitizers of older compilers fail now and then under wide address randomisation.
calm=()
if setarch --addr-no-randomize true 2>/dev/null; then
  calm=(setarch --addr-no-randomize)
fi

fail() {
  failed=$((failed + 1))
  failures+=("$1")
  echo "FAILED: $1"
}

# build PRESET [TARGET...]
build() {
  local preset=$1 log=$logs/build-$1.log begin=$SECONDS
  shift
  if cmake --preset "$preset" >"$log" 2>&1 &&
    cmake --build --preset "$preset" --parallel "$jobs" ${1:+--target "$@"} >>"$log" 2>&1; then
    echo "== $preset: built in $((SECONDS - begin)) s"
  else
    grep -B2 -A12 -E 'error:|FAILED:|CMake Error' "$log" | head -60
    fail "build of $preset (see $log)"
    return 1
  fi
}

# run_tests PRESET [CTEST OPTIONS...]
run_tests() {
  local preset=$1 log=$logs/test-$1.log begin=$SECONDS name
  shift
  "${calm[@]}" ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$jobs" \
    "$@" >"$log" 2>&1
  local result=$?
  local total=0 broken=0 unrun=0
  if [[ $(tail -100 "$log") =~ \ ([0-9]+)\ tests\ failed\ out\ of\ ([0-9]+) ]]; then
    broken=${BASH_REMATCH[1]}
    total=${BASH_REMATCH[2]}
  fi
  while read -r name; do
    skipped+=("$preset: $name")
    unrun=$((unrun + 1))
  done < <(sed -nE 's/^\s*[0-9]+ - (.*) \((Skipped|Disabled)\)$/\1/p' "$log")
  while read -r name; do
    failures+=("$preset: $name")
  done < <(sed -n '/^The following tests FAILED:$/,$s/^\s*[0-9]* - //p' "$log")
  passed=$((passed + total - broken - unrun))
  failed=$((failed + broken))
  echo "== $preset: $total tests, $broken failed, $unrun skipped, in $((SECONDS - begin)) s"
  if ((broken > 0)); then
    grep -vE '^ *(Start +[0-9]+|[0-9]+/[0-9]+ Test .* Passed )' "$log" | head -400
  elif ((result != 0)); then
    tail -20 "$log"
    fail "ctest of $preset (see $log)"
  fi
}

# fuzz SECONDS: every target on its seeds and what earlier runs found, then on new inputs.
fuzz() {
  local seconds=$1 target name log begin=$SECONDS count=0
  build fuzz fuzz_targets || return 1
  for target in build/fuzz/fuzz/*; do
    [[ -f $target && -x $target ]] || continue
    name=${target##*/}
    log=$logs/fuzz-$name.log
    mkdir -p "build/fuzz/corpus/$name"
    count=$((count + 1))
    if "${calm[@]}" "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
      -artifact_prefix="build/fuzz/$name-" "build/fuzz/corpus/$name" "tests/fuzz/corpus/$name" \
      >"$log" 2>&1; then
      passed=$((passed + 1))
    else
      tail -40 "$log"
      fail "fuzz: $name (see $log)"
    fi
  done
  echo "== fuzz: $count targets, $seconds s each, in $((SECONDS - begin)) s"
}

if [[ $install == yes ]]; then
  ./scripts/install_packages.sh test || exit 1
fi

case $tier in
  quick)
    build release && run_tests release -LE '^(slow|package)$'
    ;;
  default)
    build release && run_tests release -LE '^slow$'
    build tsan image_queue_test image_parallel_test qos_threads_test snapshot_live_model_test \
      vhd_threads_test vhdx_threads_test &&
      run_tests tsan -R \
        '^(image_(queue|parallel)_test|snapshot_live_model_test|(qos|vhdx?)_threads_test)\.'
    ;;
  sanitize)
    # The fuzz preset has asan-clang's checks: one build serves the tests and the fuzzing. What is
    # long or compares with other programs runs under sanitizers in the full tier.
    build fuzz && run_tests fuzz -LE '^(slow|package|tree|whole)$' \
      -E '(Crash|Model|Shuffle|Peers|Corpus|differential_test|convert_file_test)'
    fuzz 10
    ;;
  full)
    build release && run_tests release
    build asan-clang && run_tests asan-clang -LE '^(package|tree)$'
    build asan && run_tests asan -LE '^(slow|package|tree|whole)$'
    build tsan && run_tests tsan -LE '^(slow|package|tree|whole)$'
    build shared && run_tests shared -LE '^slow$'
    fuzz 120
    if ./scripts/lint.sh --all >"$logs/lint.log" 2>&1; then
      passed=$((passed + 1))
    else
      tail -40 "$logs/lint.log"
      fail "lint (see $logs/lint.log)"
    fi
    ;;
esac

echo
echo "tier $tier: $((SECONDS / 60)) min $((SECONDS % 60)) s"
if ((${#skipped[@]} > 0)); then
  printf 'skipped: %s\n' "${skipped[@]}"
fi
if ((${#failures[@]} > 0)); then
  printf 'failed: %s\n' "${failures[@]}"
fi
echo "$passed passed, $failed failed"
((failed == 0))
