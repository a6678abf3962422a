#!/bin/sh
awk -v x="$1" -v y="$2" 'BEGIN { printf "%.12f\n", (x-1)^2 + (y+2)^2 }'
