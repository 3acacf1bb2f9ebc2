# The attacks: each must fail, judged from outside (the host's file is not in
# the guest's disk, the forged header opens nothing, canaries are not found).
# `make check` runs all of these but the fuzzing as parts of its suites (test,
# test-net, test-vms, test-initrd, test-e2e); here they have one name.

.PHONY: test-hostile fuzz-hostile

HOSTILE := Hostile|FuzzWritten|FuzzRules|FuzzDomainXML|FuzzExports|ImagesThatNameOtherFiles|ConvertedImageReadsNothingElse|Confined|XZMemory|EndlessSums|EndlessFile|FetchRefuses
HOSTILE := $(HOSTILE)|Judge|ForgedHeader|TryAlwaysAnswers|WrongKeyAsksAtOnce|OtherVolumeKey|CopyIsNotOpenedBesideTheOriginal|CopyThatComesFirst|OtherDiskIsOpened|OfTwoCopies|PoolsWaitForTheRoot|RootProvesItself|Claims
HOSTILE := $(HOSTILE)|PublicShowsNoSecret|PublicURL|PublicText|PublicKey|Redactor|ShownWithoutSecrets|ShownPrintable|Printable|SecretNeverPrints|SecretsGoByDescriptor
HOSTILE := $(HOSTILE)|Authority|ParseRequestRefuses|SlowReader
HOSTILE := $(HOSTILE)|HostileDigest|LeftOut|Kept|ReportHasNo|Pseudonyms|OwnedFiles|AccessIsTakenBack|BadLayouts|OwnVolumeIsNeverErased

test-hostile: ## every attack on the host that must fail (root)
	go test -count=1 -run '$(HOSTILE)' ./vmstore ./host/... ./crypt ./configs ./step ./osimage ./osimage/live ./install ./cmd/hvinstall ./initrd/unlock ./net/nfs ./net/filter
	go test -tags netns -count=1 -timeout 15m ./net/filter
	go test -tags guest -count=1 -timeout 20m -run '^(TestCopyOfTheOSDisk|TestForgedOSDisk|TestForgedRoot|TestWordsThatOpen|TestOldCipher|TestClonedSticksAndDecoyDisk)$$' ./initrd/unlock

fuzz-hostile: ## what comes from outside and what is written of it, a minute each
	go test ./vmstore -run '^$$' -fuzz '^FuzzImage$$' -fuzztime $${FUZZTIME:-1m} -fuzzminimizetime 1s
	go test ./vmstore -run '^$$' -fuzz '^FuzzDomainXML$$' -fuzztime $${FUZZTIME:-1m} -fuzzminimizetime 1s
	go test ./osimage -run '^$$' -fuzz '^FuzzWritten$$' -fuzztime $${FUZZTIME:-1m} -fuzzminimizetime 1s
	go test ./net/filter -run '^$$' -fuzz '^FuzzRules$$' -fuzztime $${FUZZTIME:-1m} -fuzzminimizetime 1s
	go test ./net/nfs -run '^$$' -fuzz '^FuzzExports$$' -fuzztime $${FUZZTIME:-1m} -fuzzminimizetime 1s
	go test ./configs -run '^$$' -fuzz '^FuzzPublicText$$' -fuzztime $${FUZZTIME:-1m} -fuzzminimizetime 1s
	go test ./step -run '^$$' -fuzz '^FuzzPrintable$$' -fuzztime $${FUZZTIME:-1m} -fuzzminimizetime 1s
	$(MAKE) --no-print-directory fuzz-initrd fuzz-discover fuzz-nix FUZZTIME=$${FUZZTIME:-1m}
