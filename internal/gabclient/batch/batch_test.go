package batch

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

var sizes = rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(segment-200, segment+200), rapid.IntRange(asItIs-2, asItIs+2), rapid.IntRange(0, 100<<10))

func payload(t *rapid.T) []byte {
	n := sizes.Draw(t, "size")
	return bytes.Repeat([]byte{byte(n)}, n)
}

// TestRequests: what is encoded by hand is what protobuf reads, and the other
// way round.
func TestRequests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &Requests{}
		want := &gabv1.RequestBatch{}
		for range rapid.IntRange(1, 40).Draw(t, "requests") {
			q := &gabv1.AttachRequest{}
			if rapid.IntRange(0, 5).Draw(t, "kind") == 0 {
				q.Body = &gabv1.AttachRequest_Credit{Credit: &gabv1.Credit{Messages: rapid.Uint32().Draw(t, "credit")}}
				if err := w.Request(q); err != nil {
					t.Fatal(err)
				}
			} else {
				s := &gabv1.Send{MessageId: rapid.Uint64().Draw(t, "id")}
				for range rapid.IntRange(1, 4).Draw(t, "payloads") {
					s.Payloads = append(s.Payloads, payload(t))
				}
				if rapid.Bool().Draw(t, "directed") {
					s.ToNodeId = proto.Uint32(rapid.Uint32Range(0, 63).Draw(t, "to"))
				}
				q.Body = &gabv1.AttachRequest_Send{Send: s}
				w.Send(s.GetMessageId(), s.ToNodeId, s.GetPayloads())
			}
			want.Requests = append(want.Requests, q)
		}
		data := w.MarshalWire().Materialize()
		var got gabv1.AttachRequest
		if err := proto.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got.GetBatch(), want) {
			t.Fatalf("protobuf reads another batch: %d requests of %d", len(got.GetBatch().GetRequests()), len(want.GetRequests()))
		}
		if w.Len() != 0 || w.Bytes() != 0 {
			t.Fatalf("not empty afterwards: %d", w.Len())
		}
		plain, err := proto.Marshal(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Batch{Batch: want}})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{data, plain} {
			var r Requested
			if err := r.UnmarshalWire(b); err != nil {
				t.Fatal(err)
			}
			back := &gabv1.RequestBatch{}
			for _, q := range r.Requests {
				o := q.Other
				if o == nil {
					s := &gabv1.Send{MessageId: q.ID, Payloads: q.Payloads}
					if q.Directed {
						s.ToNodeId = &q.To
					}
					o = &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Send{Send: s}}
				}
				back.Requests = append(back.Requests, o)
			}
			if !proto.Equal(back, want) {
				t.Fatal("decoded by hand it is another batch")
			}
		}
	})
}

func TestResponses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &Responses{}
		want := &gabv1.ResponseBatch{}
		view := &gabv1.ViewId{Lineage: 1, Counter: 2}
		for range rapid.IntRange(1, 40).Draw(t, "responses") {
			q := &gabv1.AttachResponse{}
			switch rapid.IntRange(0, 7).Draw(t, "kind") {
			case 0:
				view = &gabv1.ViewId{Lineage: rapid.Uint64().Draw(t, "lineage"), Coordinator: 3}
				q.Body = &gabv1.AttachResponse_View{View: &gabv1.View{Id: view, Seq: 3}}
				if err := w.Response(q); err != nil {
					t.Fatal(err)
				}
			case 1:
				o := &gabv1.Outcome{MessageId: rapid.Uint64Range(1, 1<<40).Draw(t, "id"), Result: gabv1.SendResult_SEND_RESULT_DELIVERED}
				q.Body = &gabv1.AttachResponse_Outcome{Outcome: o}
				w.Outcome(o.GetMessageId(), o.GetResult())
			default:
				m := &gabv1.Message{View: view, Seq: rapid.Uint64Range(1, 1<<62).Draw(t, "seq"), FromNodeId: rapid.Uint32Range(0, 63).Draw(t, "from"), Payload: payload(t)}
				if rapid.Bool().Draw(t, "own") {
					m.MessageId = proto.Uint64(rapid.Uint64().Draw(t, "id"))
				}
				q.Body = &gabv1.AttachResponse_Message{Message: m}
				w.Message(view, m.GetSeq(), m.GetFromNodeId(), m.GetPayload(), m.MessageId)
			}
			want.Responses = append(want.Responses, q)
		}
		data := w.MarshalWire().Materialize()
		var got gabv1.AttachResponse
		if err := proto.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got.GetBatch(), want) {
			t.Fatal("protobuf reads another batch")
		}
		plain, err := proto.Marshal(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Batch{Batch: want}})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{data, plain} {
			var r Responded
			if err := r.UnmarshalWire(b); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(&gabv1.ResponseBatch{Responses: r.Responses}, want) {
				t.Fatal("decoded by hand it is another batch")
			}
		}
	})
}

// FuzzDecode: whatever comes, decoding by hand takes what protobuf takes.
func FuzzDecode(f *testing.F) {
	w := &Requests{}
	w.Send(7, nil, [][]byte{[]byte("a"), nil})
	f.Add(w.MarshalWire().Materialize())
	r := &Responses{}
	r.Message(&gabv1.ViewId{Counter: 1}, 1, 2, []byte("b"), nil)
	r.Outcome(1, gabv1.SendResult_SEND_RESULT_LOST)
	f.Add(r.MarshalWire().Materialize())
	f.Fuzz(func(t *testing.T, data []byte) {
		var q Requested
		if err := q.UnmarshalWire(bytes.Clone(data)); err == nil && proto.Unmarshal(data, &gabv1.AttachRequest{}) != nil {
			t.Errorf("taken as a request, not by protobuf: %x", data)
		}
		var p Responded
		if err := p.UnmarshalWire(bytes.Clone(data)); err == nil && proto.Unmarshal(data, &gabv1.AttachResponse{}) != nil {
			t.Errorf("taken as a response, not by protobuf: %x", data)
		}
	})
}
