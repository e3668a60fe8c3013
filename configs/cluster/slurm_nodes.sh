#!/bin/bash
# sbatch configs/cluster/slurm_nodes.sh configs/exp.yaml exp
# One training on the GPUs of several machines on Slurm; the second word is the name of the run.
#
# 1. Edit the `#SBATCH` lines: `--nodes` machines with `--gres=gpu:N` GPUs each. Leave one task for each machine.
# 2. On each machine `srun` starts one `torchrun`, and that starts one process for each GPU.
# 3. The processes find each other through the first machine; the port follows from the number of the job.
# 4. `data.batch_size` stays the batch of one step, shared out over all GPUs of all machines.
# 5. 300 s before the time limit Slurm sends USR1 to this script, which passes it on to all processes.
# 6. `torchrun` ignores the signal; the processes save one checkpoint together and end.
# 7. The script puts its own job back into the queue. Started again, it resumes the run.
# 8. A node that fails or a higher-priority job has the same effect, because of `--requeue`.
# 9. The machines need one folder in common: start the job where `configs` and `outputs` are.
#10. What follows the name is passed on to the first start: `training.strategy=fsdp`.
#
#SBATCH --job-name=nodes --nodes=2 --ntasks-per-node=1
#SBATCH --gres=gpu:4 --cpus-per-task=32 --mem=128G --time=12:00:00
#SBATCH --signal=B:USR1@300 --requeue --open-mode=append

stopped=
stop() {
  stopped=yes
  scancel --signal=USR1 "$SLURM_JOB_ID" # the steps of this job, not this script
}
trap stop USR1

config=$1 run=$2
shift 2
words=(train "$config" "name=$run" "$@")
[ -e "outputs/experiments/$run/checkpoints/last.safetensors" ] && words=(resume "$run")

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=1 bash -c 'trap "" USR1; exec torchrun "$@"' torchrun \
  --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
  --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first:$((20000 + SLURM_JOB_ID % 10000))" \
  -m segcli "${words[@]}" &
wait $!
code=$?
if [ -n "$stopped" ]; then
  wait $! # the signal ended the first `wait`
  code=$?
  [ "$code" -ne 0 ] && scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
