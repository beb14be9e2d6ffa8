package consensus

// Forget deletes the keys from first up to, not including, end. It costs no
// more than the map has entries, however far apart the two are.
func Forget[V any](m map[uint64]V, first, end uint64) {
	if end <= first || len(m) == 0 {
		return
	}
	if end-first > uint64(len(m)) {
		for key := range m {
			if key >= first && key < end {
				delete(m, key)
			}
		}
		return
	}
	for key := first; key < end; key++ {
		delete(m, key)
	}
}
