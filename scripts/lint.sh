#!/usr/bin/env bash
# Checks format and runs clang-tidy.
#   scripts/lint.sh            files changed against main, and uncommitted ones
#   scripts/lint.sh --all      all files
#   scripts/lint.sh --format   only the format, of all files (changes nothing)
set -euo pipefail
cd "$(dirname "$0")/.."

all_sources() {
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -- '*.cpp' '*.hpp'
  else
    find bench hypervisor include lib tests tools -name '*.cpp' -o -name '*.hpp' 2>/dev/null
  fi
}

changed_sources() {
  {
    git diff --name-only --diff-filter=d main... -- '*.cpp' '*.hpp' 2>/dev/null || true
    git diff --name-only --diff-filter=d HEAD -- '*.cpp' '*.hpp'
    git ls-files --others --exclude-standard -- '*.cpp' '*.hpp'
  } | sort -u
}

check_format() {
  echo "clang-format: ${#sources[@]} files"
  clang-format-19 --dry-run --Werror "${sources[@]}"
}

# Needs a compile database of Clang's own flags; headers are judged through the files that use them.
run_tidy() {
  local units=()
  cmake --preset dev-clang >/dev/null
  for source in "${sources[@]}"; do
    if [[ $source == *.cpp ]] && grep -qF "/$source\"" build/dev-clang/compile_commands.json; then
      units+=("$source")
    fi
  done
  echo "clang-tidy: ${#units[@]} translation units"
  if ((${#units[@]} > 0)); then
    printf '%s\0' "${units[@]}" |
      xargs -0 -n 1 -P "$(nproc)" clang-tidy-19 -p build/dev-clang --quiet --warnings-as-errors='*'
  fi
}

mode=${1:-}
case $mode in
  --all | --format) mapfile -t sources < <(all_sources) ;;
  "") mapfile -t sources < <(changed_sources) ;;
  *)
    sed -n '2,5s/^# \?//p' "$0" >&2
    exit 2
    ;;
esac

if ((${#sources[@]} == 0)); then
  echo "nothing to check"
  exit 0
fi
check_format
if [[ $mode != --format ]]; then
  run_tidy
fi
