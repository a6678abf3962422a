#!/bin/sh
# The distance from (1, -2), and how far outside of x <= 0.5 the point is.
while read -r x y; do
  awk -v x="$x" -v y="$y" 'BEGIN { printf "%.12f %.12f\n", (x-1)^2 + (y+2)^2, x - 0.5 }'
done
