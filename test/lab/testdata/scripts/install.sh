# What installers do: check files, replace text in main.cf, stop and start.
set -u
fail() { echo "FAIL: $*"; exit 1; }

out=$(hacf -verify $CONF 2>&1) || fail "hacf -verify: $out"
[ -z "$out" ] || fail "hacf -verify is not silent: $out"

work=$(mktemp -d)
trap 'rm -rf $work' EXIT
haconf -makerw && haconf -dump -makero && haclus -wait DumpingMembership 0 -time 60 || fail dump
cp $CONF/*.cf $work/
# The cluster block without attributes is dumped so, to the letter.
perl -0777 -ne 'exit(!/cluster demo \(\n\t\)/)' $work/main.cf || fail "cluster block: $(cat $work/main.cf)"
perl -0777 -pi -e 's/cluster demo \(\n\t\)/cluster demo (\n\tUseFence = SCSI3\n\t)/' $work/main.cf
out=$(hacf -verify $work 2>&1) || fail "with UseFence: $out"
sed -i 's/SystemList/SystemLst/' $work/main.cf
out=$(hacf -verify $work 2>&1) && fail "a mistake is valid"
echo "$out" | grep -q 'SystemList' || fail "no hint: $out"
rm -rf $work/*
hacf -cftocmd $CONF -dest $work || fail cftocmd
grep -q '^hagrp -add app' $work/main.cmd || fail "main.cmd: $(cat $work/main.cmd)"
hacf -cmdtocf $work || fail cmdtocf
hacf -verify $work || fail "what came back is not valid"

hauser -list 2>&1 | grep -q 'V-16-1-90506\|^[a-z]' || fail "hauser -list"
hastop -all || fail "hastop -all"
i=0
while hasys -state >/dev/null 2>&1; do i=$((i + 1)); [ $i -lt 300 ] || fail "had does not stop"; sleep 0.1; done
out=$(hastatus -sum 2>&1) && fail "hastatus without engine: $out"
echo "$out" | grep -q 'VCS WARNING V-16-1-11046' || fail "hastatus without engine says $out"
out=$(haclus -value ReadOnly 2>&1) && fail "haclus without engine"
echo "$out" | grep -q 'V-16-1-10600' || fail "haclus without engine says $out"
hamsg -tail 3 engine_A >/dev/null || fail "hamsg wants no engine"
echo done
