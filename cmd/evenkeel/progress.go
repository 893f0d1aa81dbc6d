package main

import (
	"os"

	"golang.org/x/term"

	"github.com/evenkeel/evenkeel/cmd/evenkeel/render"
)

// progress chooses how progress is shown: redrawn on a terminal, else as lines of text or of JSON.
func (p *program) progress() *render.Active {
	style := p.style(p.err)
	if p.global.Output == formatJSON {
		return render.NewActive(render.NewJSONLines(p.err))
	}
	file, ok := p.err.(*os.File)
	if !ok || !isTerminal(p.err) || p.getenv("TERM") == "dumb" {
		return render.NewActive(render.NewLines(p.err, style, p.global.Verbose))
	}
	size := func() (int, int) {
		w, h, err := term.GetSize(int(file.Fd()))
		if err != nil || w <= 0 || h <= 0 {
			return 80, 24
		}
		return w, h
	}
	return render.NewActive(render.NewLive(render.Terminal{Out: file, Size: size}, style))
}
