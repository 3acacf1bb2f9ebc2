# NixOS: what the generated modules say, by Nix itself (nix-bin).

.PHONY: test-nix fuzz-nix

test-nix: ## the NixOS modules evaluated by nix-instantiate
	go test -count=1 -tags nix ./osimage/nixos

fuzz-nix: ## no value leaves its Nix string: five minutes each
	for target in FuzzStrings FuzzOptionNames FuzzImports; do \
		go test ./osimage/nixos -run '^$$' -fuzz "^$$target$$" -fuzztime $${FUZZTIME:-5m} -fuzzminimizetime 1s; \
	done
