#!/bin/sh
# Far to the right there is nonsense in place of values.
while read -r x y; do
  awk -v x="$x" -v y="$y" 'BEGIN { if (x > 3) print "what?"; else printf "%.12f\n", (x-1)^2 + (y+2)^2 }'
done
