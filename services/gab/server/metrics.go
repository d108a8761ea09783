package server

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// scrapeDeadline bounds how long a scrape waits for the loop.
const scrapeDeadline = time.Second

// transportMetrics are LLT's counters, by peer and link; they are read from the
// loop at each scrape. All are named with what lltstat -v shows.
type transportMetrics struct{ s *Server }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("evenkeel_llt_"+name, help, labels, nil)
}

var (
	peerOpen    = desc("peer_open", "1 while a connection with the peer is open.", "peer")
	linkStatus  = desc("peer_link_up", "1 while the peer is UP on the link, 0.5 in TROUBLE, 0 DOWN.", "peer", "link")
	linkTx      = desc("peer_link_tx_bytes_total", "Bytes sent to the peer over the link, broadcasts not counted.", "peer", "link")
	linkRx      = desc("peer_link_rx_bytes_total", "Bytes received from the peer over the link.", "peer", "link")
	linkResent  = desc("peer_link_resent_frames_total", "Data frames sent again because the link lost them or was late.", "peer", "link")
	linkMissed  = desc("peer_link_missed_heartbeats_total", "Heartbeats that were due and did not come while the link counted as up.", "peer", "link")
	linkTrip    = desc("peer_link_round_trip_seconds", "Smoothed round trip of data frames.", "peer", "link")
	linkJitter  = desc("peer_link_jitter_seconds", "Mean deviation of the round trip.", "peer", "link")
	linkLoss    = desc("peer_link_loss_ratio", "Share of data frames of late that the link lost.", "peer", "link")
	linkSilence = desc("peer_link_silence_seconds", "Time since the last valid frame of the peer on the link.", "peer", "link")
	peerQueued  = desc("peer_queued_bytes", "Bytes that wait to be sent to the peer.", "peer")
	peerAlone   = desc("peer_alive_unreachable", "1 while the peer is alive by its disk heartbeat and no link reaches it (R16).", "peer")
	localUp     = desc("link_up", "1 while the link can be used here.", "link", "kind")
	localErrors = desc("link_tx_errors_total", "Frames that could not be sent or found a full queue.", "link")
	localLate   = desc("link_late_requests_total", "Requests to a disk region that took longer than a heartbeat.", "link")
	localBad    = desc("link_bad_checksums_total", "Slots of a disk region that were damaged or torn.", "link")
	refused     = desc("troubles_total", "Frames refused and other troubles, by cause, link and the node that they name.", "cause", "link", "node")
	clientSlow  = prometheus.NewDesc("evenkeel_gab_client_slow", "1 while the client of the port on the system takes its messages too slowly, so that the senders of the port wait.", []string{"port", "system"}, nil)
	frameCounts = desc("frames_total", "Frames by what became of them, as lltstat names it.", "counter")
)

// Describe lists no metric, so that peers and links may come and go.
func (transportMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect reads the loop; a loop that does not answer in time gives nothing.
func (m transportMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeDeadline)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	peers, err := m.s.ListPeers(ctx, &gabv1.ListPeersRequest{})
	if err != nil {
		return
	}
	for _, p := range peers.GetPeers() {
		if p.GetSelf() {
			continue
		}
		open := 0.0
		if p.GetState() == "OPEN" || p.GetState() == "TROUBLE" {
			open = 1
		}
		gauge(peerOpen, open, p.GetName())
		gauge(peerQueued, float64(p.GetQueuedBytes()), p.GetName())
		gauge(peerAlone, map[bool]float64{true: 1}[p.GetAliveUnreachable()], p.GetName())
		for _, k := range p.GetLinks() {
			labels := []string{p.GetName(), k.GetTag()}
			gauge(linkLoss, float64(k.GetLossPermille())/1000, labels...)
			if k.GetAgeMs() >= 0 {
				gauge(linkSilence, float64(k.GetAgeMs())/1000, labels...)
			}
			gauge(linkStatus, map[string]float64{"UP": 1, "TROUBLE": 0.5}[k.GetStatus()], labels...)
			count(linkTx, k.GetTxBytes(), labels...)
			count(linkRx, k.GetRxBytes(), labels...)
			count(linkResent, k.GetResentFrames(), labels...)
			count(linkMissed, k.GetMissedHeartbeats(), labels...)
			gauge(linkTrip, float64(k.GetRoundTripUs())/1e6, labels...)
			gauge(linkJitter, float64(k.GetJitterUs())/1e6, labels...)
		}
	}
	links, err := m.s.ListLinks(ctx, &gabv1.ListLinksRequest{})
	if err != nil {
		return
	}
	for _, k := range links.GetLinks() {
		gauge(localUp, map[bool]float64{true: 1}[k.GetUp()], k.GetTag(), k.GetKind())
		count(localErrors, k.GetTxErrors(), k.GetTag())
		if k.GetKind() == "disk" {
			count(localLate, k.GetLateHeartbeats(), k.GetTag())
			count(localBad, k.GetBadChecksums(), k.GetTag())
		}
	}
	troubles, err := m.s.ListTroubles(ctx, &gabv1.ListTroublesRequest{})
	if err != nil {
		return
	}
	for _, t := range troubles.GetTroubles() {
		node := ""
		if t.NodeId != nil {
			node = strconv.Itoa(int(t.GetNodeId()))
		}
		count(refused, t.GetCount(), t.GetCause(), t.GetTag(), node)
	}
	membership, err := m.s.GetMembership(ctx, &gabv1.GetMembershipRequest{})
	if err != nil {
		return
	}
	for _, p := range membership.GetPorts() {
		for _, s := range p.GetSlow() {
			gauge(clientSlow, 1, p.GetPort(), s.GetName())
		}
	}
	counters, err := m.s.GetStatistics(ctx, &gabv1.GetStatisticsRequest{})
	if err != nil {
		return
	}
	for _, c := range counters.GetCounters() {
		count(frameCounts, c.GetValue(), c.GetName())
	}
}
