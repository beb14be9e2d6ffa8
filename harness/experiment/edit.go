package experiment

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// find follows a dotted path as far as there are nodes. It returns the last
// node reached, the entry that it is the value of, and whether that is the
// path's end.
func (n *node) find(path string) (at entry, exact bool) {
	at = entry{at: n.at, value: n}
	parent := ""
	for _, key := range strings.Split(path, ".") {
		next, ok := at.value.entry(key)
		if !ok && at.value.kind == kindList {
			var index int
			if index, ok = at.value.item(parent, key); ok {
				item := at.value.items[index]
				next = entry{key: key, at: item.at, value: item}
			}
		}
		if !ok {
			return at, false
		}
		at, parent = next, join(parent, key)
	}
	return at, true
}

// item reads a key of a list that stands at the path: the number of an item or, of a
// fault, its ID.
func (n *node) item(path, key string) (int, bool) {
	if index, ok := indexIn(key, len(n.items)); ok {
		return index, true
	}
	if path != faultsKey {
		return 0, false
	}
	number := map[string]int{}
	for i, fault := range n.items {
		name, _ := fault.entry(nameKey)
		id, given := fault.entry(idKey)
		if name.value != nil {
			number[name.value.text]++
		}
		if given && id.value.text == key || !given && name.value != nil && name.value.text+strconv.Itoa(number[name.value.text]) == key {
			return i, true
		}
	}
	return 0, false
}

// numbered is a path with the numbers of faults in place of their IDs.
func (n *node) numbered(path string) string {
	list, ok := n.entry(faultsKey)
	id, isFault := strings.CutPrefix(path, faultsKey+".")
	if !ok || !isFault {
		return path
	}
	id, rest, deeper := strings.Cut(id, ".")
	index, known := list.value.item(faultsKey, id)
	if !known {
		return path
	}
	path = join(faultsKey, strconv.Itoa(index))
	if deeper {
		path += "." + rest
	}
	return path
}

// indexIn reads the number of one of so many items.
func indexIn(key string, items int) (int, bool) {
	index, err := strconv.Atoi(key)
	return index, err == nil && index >= 0 && index < items && wholeNumber.MatchString(key)
}

// with makes a copy of the mapping n in which the dotted path has the value;
// mappings on the way are made where there are none, items of lists must be there.
// What stands in the way is returned with its own path instead of a copy.
func (n *node) with(path string, value *node) (changed, obstacle *node, obstaclePath string) {
	return n.replace("", strings.Split(path, "."), value)
}

func (n *node) replace(parent string, keys []string, value *node) (changed, obstacle *node, obstaclePath string) {
	if n.kind == kindList {
		return n.replaceItem(parent, keys, value)
	}
	if n.kind != kindMapping && n.kind != kindNull {
		return nil, n, parent
	}
	key, path := keys[0], join(parent, keys[0])
	old, exists := n.entry(key)
	if len(keys) > 1 {
		inner := old.value
		if !exists {
			inner = &node{kind: kindNull, at: value.at}
		}
		value, obstacle, obstaclePath = inner.replace(path, keys[1:], value)
		if obstacle != nil {
			return nil, obstacle, obstaclePath
		}
	}
	copied := &node{kind: kindMapping, at: n.at, entries: make([]entry, 0, len(n.entries)+1)}
	for _, e := range n.entries {
		if e.key == key {
			e.value = value
		}
		copied.entries = append(copied.entries, e)
	}
	if !exists {
		copied.entries = append(copied.entries, entry{key: key, at: value.at, value: value})
	}
	return copied, nil, ""
}

// inTheWay says that a node is in the way of a path that is meant for something.
func (l *loader) inTheWay(obstacle *node, parent, path, meant string) error {
	e := Error{Path: parent, Value: obstacle.describe(), Want: obstacle.way() + ", for " + meant}
	key, _, _ := strings.Cut(strings.TrimPrefix(path, parent+"."), ".")
	if obstacle.kind == kindList && (wholeNumber.MatchString(key) || parent == faultsKey) {
		want := fmt.Sprintf("one from %s to %s", join(parent, "0"), join(parent, strconv.Itoa(len(obstacle.items)-1)))
		switch len(obstacle.items) {
		case 0:
			want = "items in " + parent
		case 1:
			want = join(parent, "0")
		}
		if parent == faultsKey && len(obstacle.items) > 0 {
			want += ", or the id of one"
		}
		e.Path, e.Want = join(parent, key), want+", for "+meant
		e.Message = fmt.Sprintf("there is no %s: want %s", printable(e.Path), e.Want)
	}
	return errorAt(l.file, obstacle.at, e)
}

// way says what a node that stands in the way of a path would have to be.
func (n *node) way() string {
	if n.kind == kindList {
		return "one with the item of that number, counted from 0"
	}
	return "a mapping"
}

// replaceItem is replace for a list.
func (n *node) replaceItem(parent string, keys []string, value *node) (changed, obstacle *node, obstaclePath string) {
	index, ok := n.item(parent, keys[0])
	if !ok {
		return nil, n, parent
	}
	if len(keys) > 1 {
		value, obstacle, obstaclePath = n.items[index].replace(join(parent, keys[0]), keys[1:], value)
		if obstacle != nil {
			return nil, obstacle, obstaclePath
		}
	}
	copied := *n
	copied.items = slices.Clone(n.items)
	copied.items[index] = value
	return &copied, nil, ""
}

// without makes a copy of the mapping that lacks the key.
func (n *node) without(key string) *node {
	copied := *n
	copied.entries = nil
	for _, e := range n.entries {
		if e.key != key {
			copied.entries = append(copied.entries, e)
		}
	}
	return &copied
}

// rank orders origins by how likely they are to blame where several values
// together are wrong: what the command line changed, then what a sweep varies.
func (o origin) rank() int {
	switch {
	case o.flag != "":
		return 2
	case o.swept:
		return 1
	default:
		return 0
	}
}

// blame is the origin in the node, or inside it, that is to blame first.
func (n *node) blame() origin {
	best := n.at
	for _, e := range n.entries {
		if at := e.value.blame(); at.rank() > best.rank() {
			best = at
		}
	}
	for _, item := range n.items {
		if at := item.blame(); at.rank() > best.rank() {
			best = at
		}
	}
	return best
}
