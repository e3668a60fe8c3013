#!/bin/bash
# Measure on a machine with GPUs what this project says of GPUs, in at most 8 minutes; writes one Markdown table.
#
# Run: benchmarks/gpu_suite.sh [TABLE.md]
#      DEVICE=cpu benchmarks/gpu_suite.sh    # the same parts in small, without a GPU: shows only that they run
#      SLOW=3 benchmarks/gpu_suite.sh        # every time limit three times as long, on a busy machine
#
# Each part has its own process and its own time limit. A part that fails is a row that says so; the others go on.

cd "$(dirname "$0")/.." || exit 1
out=${1:-benchmarks/gpu_suite.md}
export DEVICE=${DEVICE:-cuda} PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} NO_ALBUMENTATIONS_UPDATE=1
slow=${SLOW:-1}
all_s=$((${LIMIT_S:-480} * slow))
python=${PYTHON:-python}
rows=$(mktemp)
errors=$(mktemp)
trap 'rm -f "$rows" "$errors"' EXIT
if [ "$DEVICE" = cpu ]; then
  gpus=2 small=(--size 32 --batch-size 2 --steps 2 --rounds 1 --depths 4 8)
else
  gpus=$("$python" -c 'import torch; print(torch.cuda.device_count())')
  small=(--size 256 --batch-size 8 --steps 20 --rounds 5 --depths 32 64 128 256)
fi

# part NAME SECONDS COMMAND...: the rows that a command prints, or one that says why there are none
part() {
  local name=$1 limit=$(($2 * slow)) left=$((all_s - SECONDS))
  shift 2
  [ "$left" -lt "$limit" ] && limit=$left
  echo "$name ..." >&2
  if [ "$limit" -lt 5 ]; then
    echo "| $name | **not run**: the time is over |" >>"$rows"
  elif timeout --kill-after=5 "$limit" "$@" >"$rows.part" 2>"$errors"; then
    grep '^| ' "$rows.part" >>"$rows"
  else
    local code=$? why
    [ "$code" -eq 124 ] && echo "took longer than $limit s" >"$errors"
    grep '^| ' "$rows.part" >>"$rows"
    why=$(grep -iE 'error|terminate|longer than|no such|not found' "$errors" | grep -v 'ChildFailedError' | tail -n 1)
    [ -n "$why" ] || why=$(tail -n 1 "$errors")
    echo "| $name | **failed** (exit code $code): $(echo "$why" | tr '|' '/' | cut -c 1-200) |" >>"$rows"
  fi
  rm -f "$rows.part"
}

parts=("$python" benchmarks/_gpu_parts.py)
part "machine" 40 "${parts[@]}" machine
part "forecast" 150 "${parts[@]}" forecast
step=("$python" benchmarks/step_time.py --row --device "$DEVICE" "${small[@]}")
part "step, fp32" 60 "${step[@]}"
part "step, fp32, without TF32" 60 "${step[@]}" --no-tf32
part "step, bf16" 60 "${step[@]}" --amp bf16
part "step, bf16, cuDNN timed" 60 "${step[@]}" --amp bf16 --cudnn-benchmark
part "step, bf16, compiled" 120 "${step[@]}" --amp bf16 --compile
part "waits for the device" 40 "${parts[@]}" waits
part "graph breaks" 60 "${parts[@]}" breaks
for strategy in ddp fsdp; do
  for count in 1 $([ "$gpus" -gt 1 ] && echo "$gpus"); do
    part "$strategy on $count" 60 "$python" -m torch.distributed.run --standalone --nproc-per-node "$count" \
      benchmarks/_gpu_parts.py member --strategy "$strategy"
  done
done

{
  echo "# Measurements on GPUs"
  echo
  [ "$DEVICE" = cpu ] && printf 'Tried on a CPU: the figures mean nothing.\n\n'
  echo "$(date -u +%F), written by \`benchmarks/gpu_suite.sh\` in $SECONDS s."
  echo
  echo "| what | result |"
  echo "|---|---|"
  cat "$rows"
} >"$out"
echo "wrote $out" >&2
