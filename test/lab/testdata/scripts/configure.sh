# What configuration management does: make writable, add what is missing, save,
# wait for the dump, start. Every check is of the kind that published modules
# make: the code in the third word, the value of one attribute, a list.
set -u
fail() { echo "FAIL: $*"; exit 1; }
code() { echo "$1" | awk '{print $3; exit}'; }
flag=${FLAGS}

# Changes of a read-only configuration are refused, and nothing is changed.
out=$(hagrp -add web 2>&1) && fail "added while read-only: $out"
[ "$(hagrp -list Frozen=0 | grep -c '^web ')" = 0 ] || fail "web is there"

[ "$(haclus -value ReadOnly)" = 1 ] || fail "ReadOnly before"
haconf -makerw || fail makerw
[ "$(haclus -value ReadOnly)" = 0 ] || fail "ReadOnly after -makerw"
out=$(haconf -makerw 2>&1) && fail "makerw twice: $out"
[ "$(code "$out")" = V-16-1-10364 ] || fail "makerw twice says $out"

out=$(hagrp -add web 2>&1) || fail "hagrp -add: $out"
[ "$(code "$out")" = V-16-1-10136 ] || fail "hagrp -add says $out"
hagrp -modify web SystemList sysA 0 sysB 1 || fail SystemList
hagrp -modify web AutoStartList sysA || fail AutoStartList
hagrp -modify web Parallel 0 || fail Parallel
hagrp -modify web AutoStartList -add sysB || fail "-add to a list"
out=$(hagrp -modify web AutoStartList -add sysB 2>&1) && fail "added twice: $out"
[ "$(code "$out")" = V-16-1-10563 ] || fail "a key twice says $out"
[ "$(hagrp -value web SystemList)" = "sysA 0 sysB 1" ] || fail "SystemList is $(hagrp -value web SystemList)"
[ "$(hagrp -value web AutoStartList)" = "sysA sysB" ] || fail "AutoStartList is $(hagrp -value web AutoStartList)"

for r in web_top web_base; do
	out=$(hares -add $r FileOnOff web 2>&1) || fail "hares -add: $out"
	[ "$(code "$out")" = V-16-1-10242 ] || fail "hares -add says $out"
	hares -local $r PathName || fail "-local"
	hares -modify $r PathName $flag.$r.sysA -sys sysA || fail "a value of sysA"
	hares -modify $r PathName $flag.$r.sysB -sys sysB || fail "a value of sysB"
	hares -modify $r Critical 1 || fail Critical
	hares -modify $r Enabled 1 || fail Enabled
done
hares -link web_top web_base || fail "hares -link"
hares -dep web_top | grep -q '^web  *web_top  *web_base' || fail "hares -dep: $(hares -dep)"
hares -override web_top MonitorInterval || fail override
hares -modify web_top MonitorInterval 7 || fail "an overridden attribute"
[ "$(hares -value web_top MonitorInterval)" = 7 ] || fail "MonitorInterval is $(hares -value web_top MonitorInterval)"
hares -display -ovalues web_top | grep -q '^web_top  *MonitorInterval  *global  *7' || fail "-ovalues: $(hares -display -ovalues web_top)"
hatype -modify FileOnOff OfflineMonitorInterval 60 || fail "hatype -modify"
[ "$(hatype -value FileOnOff OfflineMonitorInterval)" = 60 ] || fail "hatype -value"
hasys -modify sysA Capacity 200 || fail "hasys -modify"
[ "$(hasys -value sysA Capacity)" = 200 ] || fail "Capacity"
hagrp -link web app online local soft || fail "hagrp -link"
hagrp -dep | grep -q '^web  *app  *online local soft' || fail "hagrp -dep: $(hagrp -dep)"

# An unknown attribute and an unknown resource change nothing.
out=$(hares -modify web_top PathNme x 2>&1) && fail "unknown attribute: $out"
echo "$out" | grep -q 'PathName' || fail "no hint: $out"
hares -modify nope PathName x 2>/dev/null && fail "unknown resource"

haconf -dump -makero || fail "dump"
haclus -wait DumpingMembership 0 -time 60 || fail "DumpingMembership"
[ "$(haclus -value ReadOnly)" = 1 ] || fail "ReadOnly after -makero"
out=$(haconf -dump -makero 2>&1) && fail "makero twice: $out"
[ "$(code "$out")" = V-16-1-10369 ] || fail "makero twice says $out"
hacf -verify $CONF || fail "what was dumped is not valid"
grep -q 'group web (' $CONF/main.cf || fail "the dump has no group web"

# Started on a system; the answer to -any names the system in its tenth word.
hagrp -wait web State OFFLINE -sys sysA -time 60 || fail "wait for the probe"
i=0
while [ "$(hares -value web_top Probed sysA)$(hares -value web_base Probed sysA)$(hares -value web_top Probed sysB)$(hares -value web_base Probed sysB)" != 1111 ]; do
	i=$((i + 1)); [ $i -lt 300 ] || fail "not probed: $(hastatus -sum)"
	sleep 0.1
done
out=$(hagrp -online web -any 2>&1) || fail "hagrp -online: $out"
[ "$(code "$out")" = V-16-1-50735 ] || fail "hagrp -online says $out"
system=$(echo "$out" | awk '{print $10; exit}')
hagrp -wait web State ONLINE -sys $system -time 60 || fail "web does not come online on $system"
test -e $flag.web_top.$system || fail "the file of web_top is missing"
out=$(hagrp -online web -any 2>&1)
[ "$(code "$out")" = V-16-1-50997 ] || fail "online twice says $out"
out=$(hagrp -switch web -to $system 2>&1) && fail "switched to where it is"
[ "$(code "$out")" = V-16-1-10192 ] || fail "switch to itself says $out"

# And away again.
hagrp -offline web -any || fail offline
hagrp -wait web State OFFLINE -sys $system -time 60 || fail "web does not go offline"
out=$(hagrp -switch web -to sysB 2>&1) && fail "switched while offline"
[ "$(code "$out")" = V-16-1-10191 ] || fail "switch while offline says $out"
haconf -makerw || fail "makerw again"
hagrp -unlink web app || fail unlink
hares -unlink web_top web_base || fail "hares -unlink"
hares -delete web_top || fail "delete web_top"
hares -delete web_base || fail "delete web_base"
hagrp -delete web || fail "delete web"
haconf -dump -makero && haclus -wait DumpingMembership 0 -time 60 || fail "dump again"
hagrp -state web 2>/dev/null && fail "web is still there"
echo done
