#!/bin/bash
# sbatch configs/cluster/slurm_folds.sh configs/exp.yaml
# Cross-validation on Slurm: an array of jobs, one GPU and one fold each.
#
# 1. Edit the `#SBATCH` lines: the last number of `--array` is the number of folds.
# 2. Slurm starts this script once for each number, as `SLURM_ARRAY_TASK_ID`; that is the fold to train.
# 3. What follows the experiment is passed on: `sbatch slurm_folds.sh configs/exp.yaml training.epochs=80`.
# 4. 300 s before the time limit Slurm sends USR1 to this script, which passes it on to the training.
# 5. The training saves a checkpoint and ends with 138; the script puts its own job back into the queue.
# 6. Started again, the same command goes on where the fold stopped; a finished fold is not trained again.
# 7. A node that fails or a higher-priority job has the same effect, because of `--requeue`.
# 8. Whichever fold ends last writes `cross_validation.yaml`, with mean and standard deviation.
# 9. The jobs need one folder in common: start them where `configs` and `outputs` are.
#10. A mistake in the experiment (exit codes 1 to 4) is not started again.
#
#SBATCH --job-name=folds --array=1-5
#SBATCH --gres=gpu:1 --cpus-per-task=8 --mem=32G --time=12:00:00
#SBATCH --signal=B:USR1@300 --requeue --open-mode=append

stopped=
stop() {
  stopped=yes
  scancel --signal=USR1 "$SLURM_JOB_ID" # the steps of this job, not this script
}
trap stop USR1

srun segcli train "$@" --folds "$SLURM_ARRAY_TASK_MAX" --fold "$SLURM_ARRAY_TASK_ID" &
wait $!
code=$?
if [ -n "$stopped" ]; then
  wait $! # the signal ended the first `wait`
  code=$?
  [ "$code" -eq 138 ] && scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
