package osimage

import (
	"strings"
	"testing"
	"time"
)

// TestHostileAccounts: a layout that names what the system has for itself gets
// neither the account nor the group.
func TestHostileAccounts(t *testing.T) {
	have := accounts{
		passwd:  "root:x:0:0::/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\nweb:x:998:998::/srv:/usr/sbin/nologin\nodd:x:abc:1::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\nann:x:1000:1000::/home/ann:/bin/bash\n",
		shadow:  "root:*:1::::::\ntoor:*:1::::::\nweb:!:1::::::\nodd:!:1::::::\nnobody:*:1::::::\nann:!:1::::::\n",
		group:   "root:x:0:\nraw:x:6:\nweb:x:998:\nann:x:1000:\n",
		gshadow: "root:*::\nraw:*::\nweb:!::\nann:!::\n",
	}
	for _, name := range []string{"root", "toor", "web", "odd", "nobody", "raw"} {
		after, _, err := have.with([]UserPlan{{Name: name, Keys: []string{"ssh-ed25519 AAAA"}, Groups: []string{"sudo"}, hash: "$6$x"}}, Given{}, time.Now())
		if err == nil || !strings.Contains(err.Error(), "another name in users") {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
		if after != have {
			t.Errorf("%s: the accounts were changed", name)
		}
	}
	if _, _, err := have.with([]UserPlan{{Name: "ann"}, {Name: "new"}}, Given{}, time.Now()); err != nil {
		t.Errorf("people: %v", err)
	}
}
