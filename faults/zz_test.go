package faults
import ("testing";"time")
func TestZZBig(t *testing.T) {
	w := bigWorld(1000)
	for _, k := range []Fault{fault("partition","",0,second), fault("isolate","voters",0,second), fault("majorities_ring","voters",0,second)} {
		if k.Kind=="partition" { k.Whom=[]string{"minority of all"} }
		start := time.Now()
		f := k
		f.Trigger.Every, f.Trigger.Times, f.Optional = 2*second, 5, true
		l := newLab(t, w, f)
		t.Log(k.Kind, "check", time.Since(start)); start=time.Now()
		o := l.end()
		t.Log(k.Kind, len(o), time.Since(start), len(o[0].Pairs))
		start=time.Now()
		l.d.Records()
		t.Log("records", time.Since(start))
	}
}
