# The bridge and NFS. These need root: network namespaces, and a guest with
# Debian's kernel for the NFS server.

.PHONY: test-net test-nfs-guest bench-net

test-net: ## br0 and the filter in network namespaces: DHCP, IPv6, rollback, networkd, every port (root)
	go test -tags netns -count=1 -timeout 15m ./net/bridge ./net/nfs ./net/filter

test-nfs-guest: ## a real NFS server and clients, allowed and forbidden, in a guest
	go test -tags guest -count=1 -timeout 20m -run TestInGuest ./net/nfs

bench-net: ## how long the LAN is silent while br0 takes over (root)
	go test -tags netns -count=1 -run '^$$' -bench '^BenchmarkGap$$' -benchtime 1x ./net/bridge
