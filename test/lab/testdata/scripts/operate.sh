# What administrators' scripts do in a maintenance: freeze, move, disable, look
# at agents, and back.
set -u
fail() { echo "FAIL: $*"; exit 1; }
code() { echo "$1" | awk '{print $3; exit}'; }
refused() { # refused CODE command...
	want=$1
	shift
	out=$("$@" 2>&1) && fail "$* is not refused: $out"
	[ "$want" = any ] || [ "$(code "$out")" = "$want" ] || fail "$* says $out, expected $want"
}
until_true() { # until_true "what" command...
	what=$1
	shift
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ $n -lt 300 ] || fail "$what: $(hastatus -sum)"
		sleep 0.1
	done
}

# A persistent freeze is part of the configuration.
refused V-16-1-10369 hagrp -freeze app -persistent
haconf -makerw || fail makerw
hagrp -freeze app -persistent || fail "freeze -persistent"
[ "$(hagrp -value app Frozen)" = 1 ] || fail Frozen
refused V-16-1-40209 hagrp -freeze app -persistent
refused any hagrp -offline app -sys sysA
hagrp -unfreeze app -persistent || fail "unfreeze -persistent"
refused V-16-1-40202 hagrp -unfreeze app -persistent

# Evacuated, frozen for the time of a reboot, and free again.
hasys -freeze -persistent -evacuate sysA || fail "hasys -freeze -evacuate"
hagrp -wait app State ONLINE -sys sysB -time 60 || fail "app is not evacuated: $(hastatus -sum)"
[ "$(hasys -value sysA Frozen)" = 1 ] || fail "Frozen of sysA"
hastatus -sum | grep -q '^A  sysA  *RUNNING  *1 *$' || fail "block A: $(hastatus -sum)"
hasys -unfreeze -persistent sysA || fail "hasys -unfreeze"
refused V-16-1-40205 hasys -unfreeze -persistent sysA
hagrp -switch app -to sysA || fail "back to sysA"
hagrp -wait app State ONLINE -sys sysA -time 60 || fail "app on sysA"

# Disabled on one system, it does not go there.
hagrp -disable app -sys sysB || fail disable
[ "$(hagrp -value app Enabled sysB)" = 0 ] || fail "Enabled on sysB: $(hagrp -value app Enabled sysB)"
refused any hagrp -switch app -to sysB
hagrp -enable app -sys sysB || fail enable
hagrp -forecast app | grep -q '^app  *sysB$' || fail "forecast: $(hagrp -forecast app -verbose 2>&1)"

# Users are names and lists of them; taken out of all lists at once.
haclus -modify UserNames -add opr secret || fail UserNames
[ "$(hauser -list)" = opr ] || fail "hauser -list: $(hauser -list)"
hauser -addpriv opr Administrator || fail addpriv
hauser -addpriv opr Operator -group app || fail "addpriv -group"
[ "$(hauser -display opr)" = "opr                  : ClusterAdministrator, GroupOperator app" ] || fail "hauser -display: $(hauser -display)"
hauser -delpriv opr Administrator || fail delpriv
hauser -delete opr || fail "hauser -delete"
hauser -list 2>/dev/null && fail "opr is still there"
[ -z "$(hagrp -value app Operators)" ] || fail "opr is still an operator"

# A resource that is online is not to be deleted by mistake.
refused any hares -delete app_flag
refused any hagrp -delete app
haconf -dump -makero && haclus -wait DumpingMembership 0 -time 60 || fail dump

# Agents.
[ "$(haagent -list)" = FileOnOff ] || fail "haagent -list: $(haagent -list)"
refused any haagent -stop FileOnOff -sys sysA
haagent -stop -force FileOnOff -sys sysA || fail "haagent -stop -force"
until_true "the agent to stop" sh -c 'test "$(haagent -value FileOnOff Running)" = No'
haagent -start FileOnOff -sys sysA || fail "haagent -start"
until_true "the agent to run" sh -c 'test "$(haagent -value FileOnOff Running)" = Yes'
hares -probe app_flag -sys sysA || fail probe
refused any hares -action app_flag nonsense -sys sysA
hares -refreshinfo app_flag || fail refreshinfo
hares -flushinfo app_flag -sys sysA || fail flushinfo
hasys -load sysA 30 || fail "hasys -load"
refused V-16-1-10267 hares -clear app_flag -sys sysA
hagrp -flush app -sys sysA -force || fail flush
hagrp -autoenable app -sys sysB >/dev/null 2>&1
refused any hagrp -clearadminwait app -sys sysA

# A fault is repaired and cleared.
rm -f "$(hares -value app_flag PathName sysA)" || fail "remove the file"
hares -probe app_flag -sys sysA || fail probe
until_true "app to fail over" sh -c 'hagrp -state app -sys sysB | grep -qx "|ONLINE|"'
hastatus -sum | grep -q '^D  app  *FileOnOff  *app_flag  *sysA *$' || fail "block D: $(hastatus -sum)"
[ "$(hares -list State=FAULTED | awk '{print $1; exit}')" = app_flag ] && [ "$(hares -list State=FAULTED | wc -l)" = 1 ] || fail "hares -list State=FAULTED: $(hares -list State=FAULTED)"
hares -clear app_flag -sys sysA || fail clear
[ "$(hares -state app_flag -sys sysA)" = OFFLINE ] || fail "after clear: $(hares -state app_flag -sys sysA)"
hagrp -switch app -any || fail "switch -any"
hagrp -wait app State ONLINE -sys sysA -time 60 || fail "app on sysA again"

# The log has all of it, and takes a line.
halog -add "maintenance over" || fail halog
hamsg -otype SYS -oname sysA -tail 1 engine_A | grep -q 'maintenance over' || fail "hamsg: $(hamsg -tail 3 engine_A)"
hamsg -sev E -otype RES -oname app_flag engine_A | grep -q 'V-16-1-10303' || fail "no fault in the log"

# The other engine is stopped and started from here.
hastop -sys sysB || fail "hastop -sys"
hasys -wait sysB SysState EXITED -time 60 || fail "sysB does not exit: $(hastatus -sum)"
[ "$(hagrp -value app AutoDisabled sysB)" != "" ] || fail AutoDisabled
refused any hagrp -switch app -to sysB
echo done
