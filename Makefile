# What `sam build` runs for each function. Architectures in template.yaml says for which processor, whatever this
# machine has; Cargo.lock says which versions. zig, which comes with cargo-lambda, links against Amazon Linux's libc.

TEMPLATE := template.yaml
ARCHITECTURE := $(shell sed -n 's/^ *Architectures: *\[ *\([a-z0-9_]*\) *\] *$$/\1/p' "$(TEMPLATE)")
TARGET_x86_64 := x86_64-unknown-linux-gnu
TARGET_arm64 := aarch64-unknown-linux-gnu
TARGET := $(TARGET_$(ARCHITECTURE))

PROFILE := --release
# Whichever is asked for first, both are built, side by side: linking takes minutes of one processor.
BINARIES := handle-email handle-dead-letter

build-HandleEmailFunction: BINARY := handle-email
build-HandleDeadLetterFunction: BINARY := handle-dead-letter

build-HandleEmailFunction build-HandleDeadLetterFunction:
	$(if $(TARGET),,$(error $(TEMPLATE) has Architectures: [$(ARCHITECTURE)]; it has to be one of x86_64 and arm64))
	cargo lambda build $(PROFILE) --locked --target $(TARGET) $(BINARIES:%=--bin %) --lambda-dir "$(ARTIFACTS_DIR)"
	mv "$(ARTIFACTS_DIR)/$(BINARY)/bootstrap" "$(ARTIFACTS_DIR)"
	rm -r $(BINARIES:%="$(ARTIFACTS_DIR)/%")

.PHONY: build-HandleEmailFunction build-HandleDeadLetterFunction
