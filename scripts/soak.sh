#!/usr/bin/env bash
# The long proofs of docs/reliability.md, and one table of their figures.
#   scripts/soak.sh [--tier nightly|release] [--percent N] [--build DIR] [--only WORD]
#     nightly  2,200,000 crash states, 520,000 fault runs, 10,000 kills, mutants, 50,000,000 model
#              operations, 2,000 chain programs, 20 CPU minutes for each fuzz target
#     release  ten times that
# DIR is a build tree, that of the preset asan-clang unless given; fuzz targets come from
# build/fuzz.
# N is how much of it to do, 100 unless given.
# WORD picks rows: states, faults, kills, mutants, model, chains, fuzz.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

tier=nightly
tree=build/asan-clang
only=
percent=100
while (($# > 0)); do
  case $1 in
    --tier) tier=${2:-}; shift ;;
    --build) tree=${2:-}; shift ;;
    --only) only=${2:-}; shift ;;
    --percent) percent=${2:-100}; shift ;;
    *) tier=unknown ;;
  esac
  shift || true
done
case $tier in
  nightly) ;;
  release) percent=$((10 * percent)) ;;
  *)
    sed -n '2,12s/^# \?//p' "$0" >&2
    exit 2
    ;;
esac

jobs=$(nproc)
logs=build/logs/soak
mkdir -p "$logs"
rm -f "$logs"/*.log
lab=$tree/tests/crash/crash_lab
failed=0
rows=()

wanted() { [[ -z $only || $only == "$1" ]]; }

# row NAME FIGURE SECONDS RESULT COMMAND
row() {
  # shellcheck disable=SC2016
  rows+=("$(printf '| %-8s | %-52s | %7s | %-12s | `%s` |' "$1" "$2" "$3" "$4" "$5")")
  [[ $4 == "no failure" ]] || failed=1
}

result_of() { if (($1 == 0)); then echo "no failure"; else echo "FAILED"; fi; }

# sum FIELD FILES...: adds the number that follows FIELD in each last line.
sum() {
  local field=$1
  shift
  tail -qn1 "$@" | sed -nE "s/.*\b$field ([0-9]+).*/\1/p" | awk '{s += $1} END {printf "%d", s}'
}

# in_parallel COMMAND with {} for each line of input; output of each to its own file.
in_parallel() {
  xargs -P "$jobs" -I{} bash -c "$1"
}

states() {
  local begin=$SECONDS code=0
  # What one workload has no use for goes to the next of its group.
  # shellcheck disable=SC2016
  printf '%s\n' "vhdx_fixed $((1000 * percent))" "vhdx_dynamic $((9000 * percent))" \
    "vhdx_child $((6000 * percent))" "vhd_ $((6000 * percent))" |
    xargs -P "$jobs" -n 2 bash -c \
      '"$0" states --workload "$2" --states "$3" >"$1/states-$2.log" 2>&1' "$lab" "$logs" || code=1
  row states "$(sum states "$logs"/states-*.log) states, \
$(sum nested "$logs"/states-*.log) nested" \
    $((SECONDS - begin)) "$(result_of $code)" "crash_lab states --workload GROUP --states N"
}

faults() {
  local begin=$SECONDS code=0 seeds=$(((24 * percent + 99) / 100))
  seq "$seeds" | in_parallel "'$lab' faults --seed {} --from {} >'$logs/faults-{}.log' 2>&1" ||
    code=1
  row faults "$(sum runs "$logs"/faults-*.log) runs" $((SECONDS - begin)) "$(result_of $code)" \
    "crash_lab faults --seed N --from N"
}

mutants() {
  local begin=$SECONDS code=0
  "$lab" mutants --states $((120 * percent)) >"$logs/mutants.log" 2>&1 || code=1
  row mutants "$(tail -n1 "$logs/mutants.log")" $((SECONDS - begin)) "$(result_of $code)" \
    "crash_lab mutants --states $((120 * percent))"
}

kills() {
  local begin=$SECONDS code=0 each=$((50 * percent))
  OPENVHD_KILLS=$each "$tree/tests/crash/process_test" >"$logs/kills.log" 2>&1 || code=1
  local total
  total=$(sed -nE 's/.*: ([0-9]+) kills.*/\1/p' "$logs/kills.log" |
    awk '{s += $1} END {print s+0}')
  row kills "$total kills" \
    $((SECONDS - begin)) "$(result_of $code)" "OPENVHD_KILLS=$each process_test"
}

model() {
  local begin=$SECONDS code=0 each=$((250000 * percent))
  printf '%s\n' 1000 2000 | in_parallel "OPENVHD_OPERATIONS=$each OPENVHD_SEED={} \
    '$tree/tests/differential/differential_test' >'$logs/model-{}.log' 2>&1" || code=1
  row model "$((2 * each)) operations" $((SECONDS - begin)) "$(result_of $code)" \
    "OPENVHD_OPERATIONS=$each OPENVHD_SEED=N differential_test"
}

# Of every three programs two are of a VHDX; each job has seeds of its own.
chains() {
  local begin=$SECONDS code=0 each=$(((667 * percent + 99) / 100)) half
  half=$(((each + 1) / 2))
  printf '%s\n' 1000000 2000000 | in_parallel "OPENVHD_CHAIN_PROGRAMS=$half OPENVHD_SEED={} \
    '$tree/tests/snapshot/snapshot_program_test' >'$logs/chains-{}.log' 2>&1" || code=1
  row chains "$(cat "$logs"/chains-*.log | sed -nE 's/^([0-9]+) programs,.*/\1/p' |
    awk '{s += $1} END {printf "%d", s}') programs" $((SECONDS - begin)) "$(result_of $code)" \
    "OPENVHD_CHAIN_PROGRAMS=$half OPENVHD_SEED=N snapshot_program_test"
}

fuzz() {
  local begin=$SECONDS code=0 seconds=$((12 * percent)) targets
  targets=$(find build/fuzz/fuzz -maxdepth 1 -type f -executable -printf '%f\n' 2>/dev/null)
  if [[ -z $targets ]]; then
    row fuzz "no targets: build the preset fuzz" 0 "FAILED" "cmake --build --preset fuzz"
    return
  fi
  # shellcheck disable=SC2016
  in_parallel "mkdir -p build/fuzz/corpus/{} && build/fuzz/fuzz/{} -max_total_time=$seconds \
    -timeout=10 -rss_limit_mb=2048 -artifact_prefix=build/fuzz/{}- build/fuzz/corpus/{} \
    tests/fuzz/corpus/{} >'$logs/fuzz-{}.log' 2>&1" <<<"$targets" || code=1
  row fuzz "$(wc -l <<<"$targets") targets, $seconds s each" $((SECONDS - begin)) \
    "$(result_of $code)" "fuzz/TARGET -max_total_time=$seconds"
}

for part in states faults mutants kills model chains fuzz; do
  if wanted "$part"; then "$part"; fi
done

printf '\n| proof    | %-52s | seconds | result       | command |\n' "done"
printf '| --- | --- | --- | --- | --- |\n'
printf '%s\n' "${rows[@]}"
if ((failed != 0)); then
  grep -h -A1 -E '^FAILED|MISSED|Failure' "$logs"/*.log | head -40
  exit 1
fi
