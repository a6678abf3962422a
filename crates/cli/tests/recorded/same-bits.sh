#!/usr/bin/env bash
# Runs the list of commands with two programs on one machine and compares what they say and write, bit by bit.
#
#   same-bits.sh BEFORE AFTER [COMMANDS-OF-BEFORE]
#
# A third argument is the list for BEFORE, where flags have changed their names. THREADS (of both) and
# THREADS_AFTER set the threads [default: 1]; KEEP=DIR keeps what was written, in DIR/before and DIR/after.
# Times are left out: the keys `seconds…` of JSON, whose order is free too, the words at the head of models, such columns of CSV, pictures over seconds, reports, and
# checkpoints, which hold the time used. Files that AFTER writes beside are named and are no difference.
# Exit code: 0 if all is the same, else 1.
set -u -o pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
before=$(realpath "$1") after=$(realpath "$2") list=$here/commands.txt
old_list=$(realpath "${3:-$list}")
work=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work/before" "$work/after"
ln -sfn "$here/inputs" "$work/before/inputs"
ln -sfn "$here/inputs" "$work/after/inputs"

# command NAME LIST: the command with its places.
command_of() {
    awk -v name="$1" '{ n = $1; sub(/^~/, "", n) } n == name { sub(/^[^ ]+ +/, ""); print }' "$2" |
        sed "s/{out}/$1/g; s/{inputs}/inputs/g"
}

# start SIDE PROGRAM THREADS LIST NAME
start() {
    cd "$work/$1" || return
    eval "\"\$2\" $(command_of "$5" "$4") --json --quiet --threads $3" >"$5.stdout" 2>"$5.stderr" </dev/null
    echo $? >"$5.status"
}

# A file without times.
timeless() {
    case $1 in
        *.stdout | *.json | *.jsonl | *.safetensors) python3 "$here/timeless.py" "$1" ;;
        *.csv) awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i ~ /^seconds/) t = i } { if (t) $t = ""; print }' OFS=, "$1" ;;
        *) cat "$1" ;;
    esac
}

# The files of NAME in the present folder that hold no times.
files_of() {
    find "$1" "$1".* -type f 2>/dev/null | grep -vE '/checkpoint\.bin$|\.html$|\.stderr$' |
        while read -r file; do
            case $file in *.svg) grep -q seconds "$file" && continue ;; esac
            echo "$file"
        done | sort
}

wrong=0 count=0
printf '%-26s %-8s %s\n' name bits 'files that differ'
for name in $(awk '!/^#/ && NF { sub(/^~/, "", $1); print $1 }' "$list"); do
    start before "$before" "${THREADS:-1}" "$old_list" "$name" &
    start after "$after" "${THREADS_AFTER:-${THREADS:-1}}" "$list" "$name" &
    wait
    said=
    for file in $(cd "$work/before" && files_of "$name"); do
        if [ ! -e "$work/after/$file" ]; then
            said="$said -$file"
        elif ! cmp -s <(timeless "$work/before/$file") <(timeless "$work/after/$file"); then
            said="$said $file"
        fi
    done
    beside=$(comm -13 <(cd "$work/before" && files_of "$name") <(cd "$work/after" && files_of "$name") | sed 's/^/+/' | tr '\n' ' ')
    status=$(cat "$work/before/$name.status")
    [ "$status" = 0 ] || said="$said (status $status)"
    count=$((count + 1))
    if [ -n "$said" ]; then wrong=$((wrong + 1)); fi
    printf '%-26s %-8s %s\n' "$name" "$([ -n "$said" ] && echo DIFFERS || echo same)" "${said# } $beside"
done
echo "$((count - wrong)) of $count the same"
[ "$wrong" = 0 ]
