#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What bash and zsh offer, by the scripts that tarn prints.
. "$(dirname "$0")/common.sh"

mkdir "$work/bin" "$work/files"
ln -s "$tarn" "$work/bin/tarn"
PATH=$work/bin:$PATH
touch "$work/files/frame.jpg" "$work/files/two words"
cd "$work/files"
"$tarn" listen doors --for 60 &
"$tarn" sub --directory "$work/other" hall/lamp --for 60 &
until_true alive_is listener doors 1
TARN_DIR=$work/other until_true alive_is subscriber hall/lamp 1

expect "ls --names" "doors" "$("$tarn" ls --names)"
expect "ls --names" "" "$("$tarn" ls --names "hall*")"

# ---- bash -----------------------------------------------------------------------------------------------------------

"$tarn" completion bash >"$work/bash"
cat >"$work/complete" <<'END'
# complete WORD...: what bash offers for the last word, one a line, sorted.
compopt() { :; } # which only a shell that is typed into has
. "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_tarn
[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}" | sort
END

# offers EXPECTED WORD...
offers() {
    local expected=$1
    shift
    expect "bash, for '$*'" "$expected" "$(bash -eu "$work/complete" "$work/bash" "$@" 2>"$work/err" | paste -sd' ')"
    expect "what bash says, for '$*'" "" "$(cat "$work/err")"
}
# An empty word, an unset variable and a failing command must not show, so the script runs under -eu but for (( )).
sed -i 's/^_tarn$/set +e; _tarn/' "$work/complete"

offers "pub push" tarn pu
offers "$("$tarn" completion bash | sed -n "s/.*verbs='\(.*\)'/\1/p" | tr ' ' '\n' | cat - <(printf -- '--help\n--version\n') | sort | paste -sd' ')" tarn ""
offers "--quiet" tarn pub t --q
offers "--count --directory --domain --for --help --json --skip-present" tarn match t --
offers "doors" tarn listen ""
offers "doors" tarn pub --chunk 5 --whole ""
offers "hall/lamp" tarn sub --directory "$work/other" ""
offers "hall/lamp" tarn sub --directory = "$work/other" ""
offers "" tarn sub --domain elsewhere ""
offers "" tarn sub doors ""
offers "frame.jpg two words" tarn pub doors ""
offers "frame.jpg" tarn pub doors x --whole fr
offers "doors" tarn keep doors ""
offers "" tarn pub --chunk ""
offers "" tarn pub --chunk = ""
offers "bash zsh" tarn completion ""
offers "latency" tarn bench stream la
offers "watch work" tarn help w
offers "$work/other" tarn ls --directory "$work/ot"
offers "$work/other" tarn ls --directory = "$work/ot"
offers "hex" tarn sub doors --format h
offers "json" tarn echo doors --format = js
offers "memory" tarn top --sort m
offers "" tarn top ""
offers "" tarn top --sort lag ""
offers "" tarn nonsense ""
offers "frame.jpg" tarn serve doors -- cat fr
bash "$work/complete" "$work/bash" tarn work doors -- ca | grep -qx cat || fail "bash: no commands for work"
bash -c 'complete -r 2>/dev/null; . "$1"; complete -p tarn' - "$work/bash" | grep -q -- '-F _tarn tarn' ||
    fail "bash: the script does not register itself"

# ---- zsh ------------------------------------------------------------------------------------------------------------

command -v zsh >/dev/null || {
    echo "zsh is not there (script/bootstrap --test installs it): bash alone was tested"
    exit 0
}
"$tarn" completion zsh >"$work/zsh"
cat >"$work/complete.zsh" <<'END'
# complete.zsh SCRIPT LINE...: what a zsh that is typed into makes of each line and a tab, in brackets.
zmodload zsh/zpty
script=$1
shift
zpty typed zsh -f -i
zpty -w typed "stty -echo; PS1=; unsetopt prompt_sp; autoload -Uz compinit && compinit -u -D; source ${(q)script}"
zpty -w typed 'shown() { print -r -- "[[$BUFFER]]"; BUFFER=; zle redisplay }; zle -N shown; bindkey "^X" shown'
zpty -w typed "zstyle ':completion:*' list-prompt ''; LISTMAX=0; print ready"
zpty -r typed answer '*ready*'
for line; do
    zpty -w -n typed "$line"$'\t\C-x'
    zpty -r typed answer '*\[\[*\]\]*'
    answer=${answer##*\[\[}
    print -r -- "${answer%%\]\]*}"
done
zpty -d typed
END

# What is expected, and the line: all are typed into one zsh, which takes a second to start.
sed "s#OTHER#$work/other#g" >"$work/lines" <<'END'
tarn completion |tarn comp
tarn pub --chunk=|tarn pub --chu
tarn listen doors |tarn listen 
tarn sub --directory OTHER hall/lamp |tarn sub --directory OTHER 
tarn pub doors frame.jpg |tarn pub doors fr
tarn pub doors --whole frame.jpg |tarn pub doors --whole fr
tarn completion zsh |tarn completion z
tarn bench latency |tarn bench la
tarn help version |tarn help ver
tarn echo doors --format=auto |tarn echo doors --format=au
tarn sub doors --format hex |tarn sub doors --format h
tarn serve doors -- sha256sum |tarn serve doors -- sha256s
tarn work doors -- cat frame.jpg |tarn work doors -- cat fr
END
mapfile -t lines < <(sed 's/.*|//' "$work/lines")
timeout 30 zsh -f "$work/complete.zsh" "$work/zsh" "${lines[@]}" >"$work/became" || fail "zsh did not complete: $(cat "$work/became")"
sed 's/|.*//' "$work/lines" | diff - "$work/became" >&2 || fail "zsh: the above (<) was expected"
