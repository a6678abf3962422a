#!/bin/sh
# Every seventh answer is nonsense.
n=0
while read -r x y; do
  n=$((n + 1))
  if [ $((n % 7)) = 3 ]; then echo 'what?'; continue; fi
  awk -v x="$x" -v y="$y" 'BEGIN { printf "%.12f\n", (x-1)^2 + (y+2)^2 }'
done
