#!/bin/bash
# Measure on a machine with GPUs what this project says of GPUs, in at most 8 minutes; writes one Markdown table.
#
# Run: benchmarks/gpu_suite.sh [TABLE.md]
#      DEVICE=cpu benchmarks/gpu_suite.sh    # the same parts in small, without a GPU: shows only that they run
#      SLOW=3 benchmarks/gpu_suite.sh        # every time limit three times as long, on a busy machine
#      ONLY=trace benchmarks/gpu_suite.sh    # only the parts whose name contains this text
#      PLAN=1 GPUS=2 benchmarks/gpu_suite.sh # print the parts on two GPUs with their seconds, and run nothing
#
# Each part has its own process and its own time: what a part leaves of its time, later ones may use. A part that fails
# is a row that says so; the others go on. SMP and MONAI take part where they are installed beside segcli, or where
# SMP_PYTHON and MONAI_PYTHON name the Python of an environment that has them. A trace of training steps is written
# beside the table, as TABLE_trace.json.gz.

cd "$(dirname "$0")/.." || exit 1
out=${1:-benchmarks/gpu_suite.md}
export DEVICE=${DEVICE:-cuda} PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} NO_ALBUMENTATIONS_UPDATE=1
export TRACE=${out%.md}_trace.json.gz
slow=${SLOW:-1}
python=${PYTHON:-$(command -v python || command -v python3)}
rows=$(mktemp)
foot=$(mktemp)
errors=$(mktemp)
trap 'rm -f "$rows" "$foot" "$errors" "$rows.part"' EXIT
deadline=0
if [ "$DEVICE" = cpu ]; then
  gpus=2 small=(--size 32 --batch-size 2 --steps 2 --rounds 1 --depths 4 8)
  peers=(--tiny --only pictures-small volumes-full) more_peers=(--tiny --only encoder-full)
  many=(--count 6 --side 64 --rounds 1) large=(--side 128 --tile 64 --rounds 1) volume=(--side 32 --tile 16 --rounds 1)
else
  gpus=${GPUS:-$("$python" -c 'import torch; print(torch.cuda.device_count())')}
  small=(--size 256 --batch-size 8 --steps 20 --rounds 5 --depths 32 64 128 256)
  peers=(--workers 4 --only pictures-small pictures-full) more_peers=(--workers 4 --only volumes-full encoder-full)
  many=(--rounds 2) large=(--rounds 2) volume=(--rounds 2)
fi

# part NAME SECONDS COMMAND...: the rows that a command prints to the file `$into`, or one that says why there are none
part() {
  local name=$1 limit
  case $name in *"$ONLY"*) ;; *) return ;; esac
  deadline=$((deadline + $2 * slow))
  limit=$((deadline - SECONDS))
  [ -z "$PLAN" ] || { echo "$2 $name"; return; }
  shift 2
  echo "$name ... ($limit s)" >&2
  if [ "$limit" -lt 5 ]; then
    echo "| $name | **not run**: the time is over |" >>"$into"
  elif timeout --kill-after=5 "$limit" "$@" >"$rows.part" 2>"$errors"; then
    grep '^| ' "$rows.part" >>"$into"
  else
    local code=$? why
    [ "$code" -eq 124 ] && echo "took longer than $limit s" >"$errors"
    grep '^| ' "$rows.part" >>"$into"
    why=$(grep -iE 'error|terminate|longer than|no such|not found' "$errors" | grep -v 'ChildFailedError' | tail -n 1)
    [ -n "$why" ] || why=$(tail -n 1 "$errors")
    echo "| $name | **failed** (exit code $code): $(echo "$why" | tr '|' '/' | cut -c 1-200) |" >>"$into"
  fi
}

parts=("$python" benchmarks/_gpu_parts.py)
steps=("$python" benchmarks/_gpu_steps.py)
into=$foot part "machine" 30 "${parts[@]}" machine # first: it also brings PyTorch from the disk
into=$rows
step=("$python" benchmarks/step_time.py --row --device "$DEVICE" "${small[@]}")
part "step, fp32" 18 "${step[@]}"
part "step, bf16" 18 "${step[@]}" --amp bf16
part "waits for the device" 15 "${parts[@]}" waits
part "copies" 22 "${steps[@]}" copies
part "trace" 25 "${steps[@]}" trace
pythons=()
[ -z "$SMP_PYTHON$MONAI_PYTHON" ] || pythons=(--python ${SMP_PYTHON:+"smp=$SMP_PYTHON"} ${MONAI_PYTHON:+"monai=$MONAI_PYTHON"})
whole=("$python" benchmarks/peers/run.py --rows --device "$DEVICE" "${pythons[@]}")
part "whole trainings, pictures" 60 "${whole[@]}" "${peers[@]}"
part "whole trainings, volumes and encoders" 35 "${whole[@]}" "${more_peers[@]}"
predict=("$python" benchmarks/predict_speed.py --row --device "$DEVICE")
part "prediction, many images" 20 "${predict[@]}" small "${many[@]}"
part "prediction, a large image" 35 "${predict[@]}" large "${large[@]}"
part "prediction, a volume" 25 "${predict[@]}" volume "${volume[@]}"
part "forecast" 40 "${parts[@]}" forecast
part "graph breaks" 27 "${parts[@]}" breaks
part "step, bf16, compiled" 43 "${step[@]}" --amp bf16 --compile
for strategy in ddp fsdp; do
  for count in 1 $([ "$gpus" -gt 1 ] && echo "$gpus"); do
    part "$strategy on $count" 12 "$python" -m torch.distributed.run --standalone --nproc-per-node "$count" \
      benchmarks/_gpu_parts.py member --strategy "$strategy"
  done
done
part "step, fp32, without TF32" 9 "${step[@]}" --no-tf32
part "step, bf16, cuDNN timed" 9 "${step[@]}" --amp bf16 --cudnn-benchmark
[ -z "$PLAN" ] || exit 0

{
  echo "# Measurements on GPUs"
  echo
  [ "$DEVICE" = cpu ] && printf 'Tried on a CPU: the figures mean nothing.\n\n'
  echo "$(date -u +%F), written by \`benchmarks/gpu_suite.sh\` in $SECONDS s."
  echo
  echo "| what | result |"
  echo "|---|---|"
  cat "$rows"
  echo
  echo "## Machine and settings"
  echo
  echo "| what | value |"
  echo "|---|---|"
  cat "$foot"
} >"$out"
echo "wrote $out" >&2
