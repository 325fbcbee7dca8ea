#!/bin/sh
# Loss weights of Stage I (lambda_dis, lambda_str) one after the other, then of Stage II (lambda_c).
# What is finished is kept: start it again to go on. Words given here go to every training.
set -eu
cd "$(dirname "$0")/../.."
for dis in 0.03 0.1 0.3; do
  for str in 0.3 1.0 3.0; do
    run=runs/ainn_lambda/dis_$dis-str_$str
    emovc fit -c configs/ainn_nemo_cpu.yaml --run "$run" --resume=auto \
      --model.init_args.disentanglement_weight=$dis --model.init_args.strength_weight=$str "$@"
  done
done
for content in 1.0 5.0 25.0; do
  emovc fit -c configs/ainn_nemo_cpu_stage2.yaml --run "runs/ainn_lambda/content_$content" \
    --resume=auto --model.init_args.stage1=runs/ainn_lambda/dis_0.1-str_1.0 \
    --model.init_args.content_weight=$content "$@"
done
