# A configuration as commands: what hacf -cftocmd writes is run against the
# running cluster, and what is dumped then says the same as the file.
set -u
fail() { echo "FAIL: $*"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf $work' EXIT
haconf -makerw && haconf -dump -makero && haclus -wait DumpingMembership 0 -time 60 || fail dump
cp $CONF/*.cf $work/
sed -i '/^\tUserNames/d' $work/main.cf
cat >> $work/main.cf <<'CF'

group extra_low (
	SystemList = { sysA = 0, sysB = 1 }
	Parallel = 1
	AutoStart = 0
	)

	FileOnOff extra_plain (
		PathName = "/tmp/with blank and % and -y"
		)

group extra_top (
	SystemList = { sysA = 1, sysB = 0 }
	AutoStart = 0
	UserStrGlobal = "-y %x \"quoted\""
	TriggerResStateChange = 1
	Load = 7
	)

	FileOnOff extra_a (
		PathName @sysA = "/tmp/extra-a.sysA"
		PathName @sysB = "/tmp/extra-a.sysB"
		Critical = 0
		MonitorInterval = 11
		)

	FileOnOff extra_b (
		PathName = "/tmp/extra-b"
		Enabled = 0
		)

	FileOnOff extra_c (
		PathName = "/tmp/extra-c"
		)

	requires group extra_low online local soft
	extra_a requires atleast 1 from extra_b, extra_c
CF
hacf -verify $work || fail "the file is not valid"
hacf -cftocmd $work || fail cftocmd
haconf -makerw || fail makerw
grep extra_ $work/main.cmd > $work/extra.cmd
[ "$(wc -l < $work/extra.cmd)" -gt 15 ] || fail "few commands: $(cat $work/extra.cmd)"
sh -e $work/extra.cmd 2> $work/said || fail "$(cat $work/said $work/extra.cmd)"
haconf -dump -makero && haclus -wait DumpingMembership 0 -time 60 || fail dump
hacf -display $work > $work/wanted
hacf -display $CONF > $work/have
diff $work/wanted $work/have > $work/diff || fail "the dump says something else: $(cat $work/diff)"
[ "$(hagrp -value extra_top UserStrGlobal)" = '-y %x "quoted"' ] || fail "UserStrGlobal is $(hagrp -value extra_top UserStrGlobal)"
[ "$(hagrp -list Parallel=1 | tr -s ' ' | tr '\n' ' ')" = "extra_low sysA extra_low sysB " ] || fail "hagrp -list Parallel=1"
[ "$(hagrp -dep extra_top | tail -1 | tr -s ' ')" = "extra_top extra_low online local soft" ] || fail "hagrp -dep"
[ "$(hares -dep -atleast | tail -1 | tr -s ' ')" = "extra_top extra_a 1 extra_b,extra_c" ] || fail "hares -dep -atleast: $(hares -dep -atleast)"

# And out again, in the order that dependencies allow.
haconf -makerw || fail makerw
hares -unlink extra_a extra_b,extra_c || hares -unlink extra_a extra_b || fail unlink
hagrp -unlink extra_top extra_low || fail "hagrp -unlink"
for r in extra_a extra_b extra_c extra_plain; do hares -delete $r || fail "delete $r"; done
for g in extra_top extra_low; do hagrp -delete $g || fail "delete $g"; done
haconf -dump -makero && haclus -wait DumpingMembership 0 -time 60 || fail dump
grep -q extra_ $CONF/main.cf && fail "something is left: $(cat $CONF/main.cf)"
echo done
