# What monitoring checks do: they parse columns, and everything must come within
# two seconds.
set -u
fail() { echo "FAIL: $*"; exit 1; }
fast() { timeout 2 "$@" || fail "$* takes too long or fails"; }

for sum in -sum -summ -summary; do
	fast hastatus $sum > /tmp/hastatus.$$ 
	[ "$(sed -n 2p /tmp/hastatus.$$)" = "-- SYSTEM STATE" ] || fail "$sum: $(cat /tmp/hastatus.$$)"
	systems=$(awk '/^A  /{print $2"="$3"="$4}' /tmp/hastatus.$$ | tr '\n' ' ')
	[ "$systems" = "sysA=RUNNING=0 sysB=RUNNING=0 " ] || fail "systems: $systems"
	awk '/^A  /{ if (substr($0,4,4) != $2 || substr($0,25,7) != $3 || substr($0,46,1) != $4) exit 1 }' /tmp/hastatus.$$ || fail "columns of A"
	awk '/^B  /{ if (substr($0,4,3) != $2 || substr($0,20,4) != $3 || substr($0,41,1) != $4 || substr($0,52,1) != $5 || substr($0,68,1) == " " || NF != 6) exit 1 }' /tmp/hastatus.$$ || fail "columns of B"
	# the check that drops what matches "OFFLINE " and takes what is left
	owner=$(grep '^B  app ' /tmp/hastatus.$$ | grep -v 'OFFLINE ' | awk '{print $3}')
	[ "$owner" = sysA ] || fail "owner is $owner"
done
rm -f /tmp/hastatus.$$

fast hagrp -state app -sys sysA | grep -qx '|ONLINE|' || fail "bars"
[ "$(EVENKEEL_VCS_COMPAT=3.5 hagrp -state app -sys sysA)" = ONLINE ] || fail "the bare word"
[ "$(hagrp -state | sed -n 's/^app  *State  *sysA  *|\(.*\)|$/\1/p')" = ONLINE ] || fail "table"
fast hagrp -display app -attribute State -attribute SystemList -localclus | awk 'NR==1 && $1!="#Group"{exit 1} /SystemList/ && $3!="global"{exit 1}' || fail "hagrp -display"
[ "$(hagrp -list | awk '{print $1"@"$2}' | tr '\n' ' ')" = "app@sysA app@sysB " ] || fail "hagrp -list"
[ -z "$(hagrp -list Parallel=1)" ] || fail "no group is parallel"
[ "$(hagrp -list Parallel=0 | wc -l)" = 2 ] || fail "conditions"
[ "$(hagrp -resources app)" = app_flag ] || fail "hagrp -resources"
[ "$(hares -state app_flag -sys sysA)" = ONLINE ] || fail "hares -state"
[ "$(hares -list Type=FileOnOff | awk '{print $1}' | sort -u)" = app_flag ] || fail "hares -list"
fast hares -display app_flag -attribute State -sys sysA | grep -q '^app_flag  *State  *sysA  *ONLINE$' || fail "hares -display"
out=$(hagrp -dep 2>&1) && fail "hagrp -dep: $out"
echo "$out" | grep -q 'V-16-1-50035' || fail "hagrp -dep says $out"
out=$(hares -dep 2>&1) && fail "hares -dep: $out"
echo "$out" | grep -q 'V-16-1-50034' || fail "hares -dep says $out"
fast hasys -display -attribute SysState | awk 'NR==1 && $1!="#System"{exit 1} NR>1 && $3!="RUNNING"{exit 1}' || fail "hasys -display"
[ "$(hasys -list | tr '\n' ' ')" = "sysA sysB " ] || fail "hasys -list"
[ "$(hasys -value sysA Frozen)" = 0 ] || fail "hasys -value"
[ "$(hasys -nodeid sysB | awk '{print $2}')" = 1 ] || fail "hasys -nodeid"
[ "$(haclus -display -localclus | awk '$1=="ClusterName"{print $2}')" = demo ] || fail ClusterName
[ "$(haclus -display | awk '$1=="ClusState"{print $2}')" = RUNNING ] || fail ClusState
[ "$(haclus -list)" = demo ] || fail "haclus -list"
haagent -display FileOnOff | grep -q '^FileOnOff  *Running  *Yes$' || fail "haagent: $(haagent -display FileOnOff)"
hamsg -list | grep -qx engine_A || fail "hamsg -list"
hamsg -otype GRP -oname app engine_A | grep 'VCS NOTICE V-16-1-10447 Group app is online' > /dev/null || fail "hamsg"
for g in nope; do
	out=$(hagrp -state $g 2>&1) && fail "group $g: $out"
	[ "$(echo "$out" | awk '{print $1" "$2" "$3}')" = "VCS WARNING V-16-1-40131" ] || fail "group $g says $out"
done
out=$(hagrp -state app -sys nope 2>&1) && fail "system nope: $out"

# Freeze and unfreeze, as maintenance scripts do; each conflict has its code.
hagrp -freeze app || fail freeze
[ "$(hagrp -value app TFrozen)" = 1 ] || fail TFrozen
hastatus -sum | grep -q '^C  app' || fail "block C: $(hastatus -sum)"
out=$(hagrp -freeze app 2>&1) && fail "frozen twice: $out"
hagrp -unfreeze app || fail unfreeze
out=$(hagrp -unfreeze app 2>&1) && fail "unfrozen twice: $out"
echo "$out" | grep -q 'V-16-1-40201' || fail "unfrozen twice says $out"

# The live form, for a while; it shows what happens.
timeout -s INT 3 hastatus > /tmp/hastatus.$$ &
live=$!
sleep 1
hagrp -switch app -to sysB || fail switch
hagrp -wait app State ONLINE -sys sysB -time 60 || fail "app on sysB"
wait $live
grep -q '^app  *sysB  *ONLINE *$' /tmp/hastatus.$$ || fail "live: $(cat /tmp/hastatus.$$)"
rm -f /tmp/hastatus.$$
hagrp -switch app -to sysA && hagrp -wait app State ONLINE -sys sysA -time 60 || fail "back"
echo done
