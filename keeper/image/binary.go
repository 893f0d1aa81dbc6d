// Package image makes evenkeel's own static binary into a container image, in memory, for an engine to
// load. The same binary gives the same image.
package image

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// running is the program that runs, also after its file was replaced.
const running = "/proc/self/exe"

var machines = map[string]elf.Machine{
	"amd64":   elf.EM_X86_64,
	"arm64":   elf.EM_AARCH64,
	"arm":     elf.EM_ARM,
	"386":     elf.EM_386,
	"ppc64le": elf.EM_PPC64,
	"riscv64": elf.EM_RISCV,
	"s390x":   elf.EM_S390,
}

// Binary finds a static evenkeel for Linux and the architecture (as Go names it): the running program
// where it is one, else the file evenkeel-linux-<arch> beside it.
func Binary(arch string) (path string, err error) {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return find(running, filepath.Dir(self), arch)
}

func find(running, dir, arch string) (string, error) {
	own := Check(running, arch)
	if own == nil {
		return running, nil
	}
	sibling := filepath.Join(dir, "evenkeel-linux-"+arch)
	other := Check(sibling, arch)
	if other == nil {
		return sibling, nil
	}
	if errors.Is(other, os.ErrNotExist) {
		other = errors.New("it isn't there")
	}
	return "", fmt.Errorf("no evenkeel to run on a linux/%s host: the running program: %w; %s: %w; "+
		"put a static build there, or name an image that holds one with --keeper-image", arch, own, sibling, other)
}

// Check says why a file isn't a static program for Linux and the architecture; nil: it is one.
func Check(path, arch string) error {
	want, known := machines[arch]
	if !known {
		return fmt.Errorf("architecture %q isn't known", arch)
	}
	f, err := elf.Open(path)
	if err != nil {
		var format *elf.FormatError
		if errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("it isn't a Linux program")
		}
		return err
	}
	defer f.Close()
	switch {
	case f.Machine != want:
		return fmt.Errorf("it is for another architecture (%s)", f.Machine)
	case f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX:
		return fmt.Errorf("it is for another system (%s)", f.OSABI)
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return errors.New("it isn't a program")
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it is linked dynamically; build it with CGO_ENABLED=0")
		}
	}
	return nil
}
